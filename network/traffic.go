package network

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Traffic is one look at the traffic of many holders. It reads what it needs
// when it is first needed, and asks the kernel once for all that are on the
// built-in bridge. The zero value is ready.
type Traffic struct {
	once  sync.Once
	outer map[string]InterfaceCounters
	err   error
}

// Of reports the traffic of what Attach made, as seen from inside. A pid that is
// not zero is a process in the namespace, which spares entering it.
func (t *Traffic) Of(req Request, res Result, pid int) ([]InterfaceCounters, error) {
	switch {
	case res.Network == BuiltIn:
		t.once.Do(func() { t.outer, t.err = hostTraffic() })
		if t.err != nil {
			return nil, fmt.Errorf("counters: %w", t.err)
		}
		name := linkName(leaseKey(req.Owner, req.ID))
		c, ok := t.outer[name]
		if !ok {
			return nil, fmt.Errorf("counters: %s: %w", name, unix.ENODEV)
		}
		return []InterfaceCounters{c.mirrored()}, nil
	case pid > 0:
		return countersOf(pid)
	default:
		return Counters(req.Netns)
	}
}

// mirrored is what the holder's end of a pair has: what one end sends, the other receives.
func (c InterfaceCounters) mirrored() InterfaceCounters {
	return InterfaceCounters{
		Name:    inner,
		RxBytes: c.TxBytes, TxBytes: c.RxBytes,
		RxPackets: c.TxPackets, TxPackets: c.RxPackets,
		RxErrors: c.TxErrors, TxErrors: c.RxErrors,
		RxDropped: c.TxDropped, TxDropped: c.RxDropped,
	}
}

// hostTraffic are the counters of the host's ends of all pairs. Netlink takes twice as
// long to tell so much that is not asked for.
func hostTraffic() (map[string]InterfaceCounters, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return nil, err
	}
	all := map[string]InterfaceCounters{}
	parseDev(text, func(c InterfaceCounters) {
		if strings.HasPrefix(c.Name, linkPrefix) {
			all[c.Name] = c
		}
	})
	return all, nil
}

// countersOf is Counters for the network namespace of a process.
func countersOf(pid int) ([]InterfaceCounters, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return nil, fmt.Errorf("counters of process %d: %w", pid, err)
	}
	var all []InterfaceCounters
	parseDev(text, func(c InterfaceCounters) { all = append(all, c) })
	return all, nil
}

// parseDev reads lines "eth0: bytes packets errs drop fifo frame compressed multicast" and
// the same of what was sent; two lines of titles come first. It leaves out loopback.
func parseDev(text []byte, each func(InterfaceCounters)) {
	for line := range bytes.Lines(text) {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		name = bytes.TrimSpace(name)
		if !ok || string(name) == "lo" {
			continue
		}
		var n [12]uint64
		for i := range n {
			rest, ok = cutNumber(rest, &n[i])
			if !ok {
				break
			}
		}
		if !ok {
			continue
		}
		each(InterfaceCounters{
			Name:    string(name),
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11],
		})
	}
}

// cutNumber cuts a number with the spaces before it off a line.
func cutNumber(line []byte, n *uint64) (rest []byte, ok bool) {
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	for len(line) > 0 && line[0] >= '0' && line[0] <= '9' {
		*n, ok, line = *n*10+uint64(line[0]-'0'), true, line[1:]
	}
	return line, ok
}
