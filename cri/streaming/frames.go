package streaming

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
)

// The SPDY library keeps up to 250 frames that nobody reads yet, of up to 16 MiB
// each. Clients of Kubernetes send 32 KiB at a time, and little of all else.
const (
	maxData    = 256 << 10
	maxControl = 4 << 10 // compressed
)

var errFrame = errors.New("a SPDY frame is larger than any client needs")

// framed is an answer whose connection, once it is taken over, is cut when the
// client sends a frame that is too large.
type framed struct {
	http.ResponseWriter
	cut func()
}

// Hijack hands over the connection.
func (f framed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(f.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	rw.Reader = bufio.NewReader(&frames{from: rw.Reader, cut: f.cut})
	return conn, rw, nil
}

// frames passes SPDY on and looks at the size of each frame.
//
//	byte 0          1 - 3   4       5 - 7    8 ...
//	control << 7 …          flags   size     size bytes
type frames struct {
	from io.Reader
	cut  func()
	head [8]byte
	have int // of head
	left int // of the frame
}

// Read fails where a frame begins that is too large.
func (f *frames) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		if f.left > 0 {
			skipped := min(f.left, len(rest))
			f.left -= skipped
			rest = rest[skipped:]
			continue
		}
		got := copy(f.head[f.have:], rest)
		f.have += got
		rest = rest[got:]
		if f.have < len(f.head) {
			break
		}
		f.have = 0
		f.left = int(binary.BigEndian.Uint32(f.head[4:]) & 0xff_ffff)
		most := maxData
		if f.head[0]&0x80 != 0 {
			most = maxControl
		}
		if f.left > most {
			f.cut()
			return 0, errFrame
		}
	}
	return n, err
}
