package network

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disciplines are the queues of a link and what is led elsewhere from it.
func disciplines(t *testing.T, netns, link string) string {
	t.Helper()
	ns, err := openNetns(netns)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	var all []byte
	err = inside(ns, func() error {
		for _, args := range [][]string{{"qdisc", "show", "dev", link}, {"filter", "show", "dev", link, "ingress"}} {
			out, err := exec.Command("tc", args...).CombinedOutput()
			all = append(all, out...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v: %s", link, err, all)
	}
	return string(all)
}

// needQueues skips the test where the kernel can't delay what comes in.
func needQueues(t *testing.T) {
	t.Helper()
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var todo batch
	todo.createQueue("probe", 1500)
	if err := s.run(&todo, nil); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel lacks the module ifb")
	} else if err != nil {
		t.Fatal(err)
	}
	var back batch
	back.deleteLink("probe")
	if err := s.run(&back, nil); err != nil {
		t.Fatal(err)
	}
}

func TestBandwidthIsLimitedOnTheHostsSide(t *testing.T) {
	if !isolate(t) {
		return
	}
	needQueues(t)
	m := newMachine(t, nil)
	req := m.request("a")
	req.IngressBps, req.EgressBps = 1_000_000, 2_000_000
	res, err := m.Attach(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	key := leaseKey(req.Owner, req.ID)
	outer := disciplines(t, "/proc/thread-self/ns/net", linkName(key))
	for _, want := range []string{"tbf", "rate 1Mbit", "ingress", "protocol all", "Egress Redirect to device " + queueName(key)} {
		if !strings.Contains(outer, want) {
			t.Errorf("outer end: %s, want %q", outer, want)
		}
	}
	if queue := disciplines(t, "/proc/thread-self/ns/net", queueName(key)); !strings.Contains(queue, "rate 2Mbit") {
		t.Errorf("queue: %s, want tbf at 2Mbit", queue)
	}
	if own := disciplines(t, req.Netns, inner); strings.Contains(own, "tbf") {
		t.Errorf("inner end: %s, want nothing that the holder could take away", own)
	}
	if err := m.Detach(t.Context(), req, res); err != nil {
		t.Fatal(err)
	}
	waitGone(t, queueName(key))
}

func TestWhatIsSentTakesItsTime(t *testing.T) {
	if !isolate(t) {
		return
	}
	needQueues(t)
	m := newMachine(t, func(c *Config) {
		c.Subnets = []netip.Prefix{netip.MustParsePrefix("10.213.0.0/24"), netip.MustParsePrefix("fd51::/64")}
	})
	req := m.request("a")
	req.EgressBps = 2_000_000 // 250 kB/s
	res, err := m.Attach(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Gateways) != 2 {
		t.Fatalf("gateways %v, want one of each family", res.Gateways)
	}
	for _, host := range res.Gateways {
		l, err := net.Listen("tcp", net.JoinHostPort(host.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		const size = 400_000
		go func() { // ends with the connection
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(make([]byte, 1)) // now it is set up
			_, _ = io.CopyN(io.Discard, c, size)
			_, _ = c.Write(make([]byte, 1))
			_ = c.Close()
		}()
		c, err := Dial(t.Context(), req.Netns, "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		answer := make([]byte, 1)
		_, err = io.ReadFull(c, answer)
		start := time.Now()
		if err == nil {
			_, err = c.Write(make([]byte, size))
		}
		if err == nil {
			_, err = io.ReadFull(c, answer)
		}
		took := time.Since(start)
		_, _ = c.Close(), l.Close()
		// A bucket of 64 KiB is free of charge.
		if least := time.Second; err != nil || took < least {
			t.Errorf("%d bytes to %s took %s, %v; want %s at least", size, host, took, err, least)
		}
	}
}

func TestTheQueueOfAHolderThatIsGoneIsCollected(t *testing.T) {
	if !isolate(t) {
		return
	}
	needQueues(t)
	m := newMachine(t, nil)
	req := m.request("a")
	req.EgressBps = 2_000_000
	if _, err := m.Attach(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	// Whoever attached it ended without a word, and its namespace is gone.
	if err := unix.Unlink(req.Owner); err != nil {
		t.Fatal(err)
	}
	if err := m.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	waitGone(t, queueName(leaseKey(req.Owner, req.ID)))
	waitGone(t, linkName(leaseKey(req.Owner, req.ID)))
	m.wantNothingLeft()
}

func TestAttachingAgainMakesTheQueueAgain(t *testing.T) {
	if !isolate(t) {
		return
	}
	needQueues(t)
	m := newMachine(t, nil)
	req := m.request("a")
	for _, bps := range []int64{2_000_000, 3_000_000, 0} {
		req.EgressBps = bps
		req.Netns = newNetns(t, "again"+strconv.FormatInt(bps, 10))
		if _, err := m.Attach(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	waitGone(t, queueName(leaseKey(req.Owner, req.ID)))
}
