package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batch is netlink requests sent in one system call. The kernel carries them
// out in order and goes on after one fails.
type batch struct {
	wire  []byte
	names []string
}

// add appends a request; what names the step in errors.
func (b *batch) add(what string, kind, flags int, parts ...nl.NetlinkRequestData) {
	b.names = append(b.names, what)
	b.append(kind, flags|unix.NLM_F_ACK, len(b.names), parts...)
}

// mark appends a message that is not acknowledged. If the kernel answers it
// nevertheless it refuses the whole batch.
func (b *batch) mark(kind int, parts ...nl.NetlinkRequestData) { b.append(kind, 0, 0, parts...) }

func (b *batch) append(kind, flags, seq int, parts ...nl.NetlinkRequestData) {
	size := unix.SizeofNlMsghdr
	bodies := make([][]byte, len(parts))
	for i, part := range parts {
		bodies[i] = part.Serialize()
		size += len(bodies[i])
	}
	header := make([]byte, unix.SizeofNlMsghdr)
	order := binary.NativeEndian
	order.PutUint32(header[0:], uint32(size))
	order.PutUint16(header[4:], uint16(kind))
	order.PutUint16(header[6:], uint16(flags|unix.NLM_F_REQUEST))
	order.PutUint32(header[8:], uint32(seq))
	b.wire = append(b.wire, header...)
	for _, body := range bodies {
		b.wire = append(b.wire, body...)
	}
	for len(b.wire)%unix.NLMSG_ALIGNTO != 0 {
		b.wire = append(b.wire, 0)
	}
}

// stepError is one request of a batch that the kernel refused.
type stepError struct {
	step  string
	cause error
	text  string
}

func (e *stepError) Error() string {
	if e.text == "" {
		return e.step + ": " + e.cause.Error()
	}
	return e.step + ": " + e.cause.Error() + " (" + e.text + ")"
}

func (e *stepError) Unwrap() error { return e.cause }

// socket is a netlink socket, bound for life to the network namespace it was
// opened in. It may be used from several goroutines.
type socket struct {
	mu  sync.Mutex // owns the socket: one conversation at a time
	fd  int
	seq uint32
	buf []byte
}

// openSocket opens a socket of protocol, such as NETLINK_ROUTE.
func openSocket(protocol int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// The kernel answers before the request returns; one it never answers must
	// not hang us.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	// Both only improve error reports, so old kernels may refuse them.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &socket{fd: fd, buf: make([]byte, 32<<10)}, nil
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// run carries out a batch. It returns the first refusal, and calls reply for
// every message the kernel answers with beside acknowledgements.
func (s *socket) run(b *batch, reply func(kind uint16, body []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return fmt.Errorf("netlink: %w", os.ErrClosed)
	}
	base := s.seq
	s.seq += uint32(len(b.names))
	for at := 0; at < len(b.wire); {
		seq := binary.NativeEndian.Uint32(b.wire[at+8:])
		binary.NativeEndian.PutUint32(b.wire[at+8:], seq+base)
		at += align4(int(binary.NativeEndian.Uint32(b.wire[at:])))
	}
	err := unix.Sendto(s.fd, b.wire, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	var first error
	for acked := 0; acked < len(b.names); {
		n, from, err := unix.Recvfrom(s.fd, s.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from netlink: %w", err)
		}
		if peer, ok := from.(*unix.SockaddrNetlink); !ok || peer.Pid != 0 {
			continue
		}
		done, err := readReplies(s.buf[:n], base, b.names, reply)
		if first == nil {
			first = err
		}
		acked += done
	}
	return first
}

// readReplies goes through one datagram and reports how many requests it ended.
func readReplies(data []byte, base uint32, names []string, reply func(uint16, []byte) error) (done int, first error) {
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return done, errors.Join(first, fmt.Errorf("netlink: message of %d bytes in %d", size, len(data)))
		}
		kind := binary.NativeEndian.Uint16(data[4:])
		flags := binary.NativeEndian.Uint16(data[6:])
		index := binary.NativeEndian.Uint32(data[8:]) - base - 1
		body := data[unix.SizeofNlMsghdr:size]
		data = data[min(align4(size), len(data)):]
		if index == ^uint32(0) && kind == unix.NLMSG_ERROR {
			if err := readAck("begin", flags, body); err != nil {
				return len(names), errors.Join(first, err)
			}
		}
		if int64(index) >= int64(len(names)) {
			continue // a leftover of a conversation that was cut short
		}
		var err error
		switch kind {
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			done++
			if kind == unix.NLMSG_ERROR {
				err = readAck(names[index], flags, body)
			}
		default:
			if reply != nil {
				err = reply(kind, body)
			}
		}
		if first == nil {
			first = err
		}
	}
	return done, first
}

func readAck(step string, flags uint16, body []byte) error {
	if len(body) < unix.SizeofNlMsgerr {
		return fmt.Errorf("%s: short acknowledgement", step)
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code == 0 {
		return nil
	}
	e := &stepError{step: step, cause: unix.Errno(-code)}
	if flags&unix.NLM_F_ACK_TLVS == 0 {
		return e
	}
	rest := body[unix.SizeofNlMsgerr:]
	if flags&unix.NLM_F_CAPPED == 0 { // the request follows
		size := int(binary.NativeEndian.Uint32(body[4:]))
		rest = rest[min(len(rest), max(0, align4(size)-unix.SizeofNlMsghdr)):]
	}
	for kind, value := range attributes(rest) {
		if kind == unix.NLMSGERR_ATTR_MSG {
			e.text = cString(value)
		}
	}
	return e
}

// attributes goes through netlink attributes and stops at the first that is
// malformed.
func attributes(data []byte) func(yield func(kind uint16, value []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(data) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(data))
			if size < unix.SizeofNlAttr || size > len(data) {
				return
			}
			kind := binary.NativeEndian.Uint16(data[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(kind, data[unix.SizeofNlAttr:size]) {
				return
			}
			data = data[min(align4(size), len(data)):]
		}
	}
}

func cString(b []byte) string { return unix.ByteSliceToString(b) }

func align4(n int) int { return (n + 3) &^ 3 }
