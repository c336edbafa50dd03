package cgroups

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errGone is for a group none of whose files is there.
var errGone error = &os.PathError{Op: "open", Path: "cgroup files", Err: fs.ErrNotExist}

// maxStat bounds what is read of one file: io.stat has a line for each device.
const maxStat = 1 << 20

// reader reads a group's small files one after the other through one buffer,
// which lives on the caller's stack (no method may let it escape). A file that is missing reads as empty;
// the first other error stays in err and ends all reading.
type reader struct {
	buf   [6 << 10]byte
	path  [512]byte // from root
	root  int       // descriptor of a hierarchy's mount point, which shortens the kernel's walk by half
	dir   int       // length of the directory in path
	found int
	err   error
}

// in turns to the group's directory in the hierarchy of a v1 controller, and
// reports whether there is one; "" is the v2 hierarchy.
func (r *reader) in(g *Group, controller string) bool {
	h := g.m.unified()
	if controller != "" {
		h = g.m.find(controller)
	}
	if h == nil {
		return false
	}
	if len(g.path)+64 > len(r.path) {
		r.fail(fmt.Errorf("path of %d bytes: %w", len(g.path), ErrInvalid))
		return false
	}
	root, err := h.dir.open(h.mount)
	if err != nil {
		r.fail(err)
		return false
	}
	r.root = root
	r.dir = copy(r.path[:], g.path[1:])
	if r.dir > 0 {
		r.path[r.dir] = '/'
		r.dir++
	}
	return true
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// file is the content of one file of the directory, valid until the next call.
func (r *reader) file(name string) []byte {
	if r.err != nil || r.dir+len(name) >= len(r.path) {
		return nil
	}
	end := r.dir + copy(r.path[r.dir:], name)
	r.path[end] = 0
	fd, err := openRead(r.root, r.path[:end+1])
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		r.fail(&os.PathError{Op: "open", Path: string(r.path[:end]), Err: err})
		return nil
	}
	defer unix.Close(fd) //nolint:errcheck // Opened for reading.
	buf, n := r.buf[:], 0
	for {
		got, err := unix.Pread(fd, buf[n:], int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
			// Removed meanwhile; or pressure accounting is switched off.
			return nil
		case err != nil:
			r.fail(&os.PathError{Op: "read", Path: string(r.path[:end]), Err: err})
			return nil
		}
		// These files fill the buffer as far as they can: less is the end.
		if n += got; n < len(buf) {
			r.found++
			return buf[:n]
		}
		if len(buf) >= maxStat {
			r.fail(fmt.Errorf("read %s: more than %d bytes: %w", string(r.path[:end]), maxStat, ErrInvalid))
			return nil
		}
		buf = append(make([]byte, 0, 4*len(buf)), buf...)
		buf = buf[:cap(buf)]
	}
}

// number is a file of one number.
func (r *reader) number(name string) (n uint64, ok bool) {
	return parseUint(bytes.TrimSpace(r.file(name)))
}

// fact is number, noted as known if it is there.
func (r *reader) fact(s *Stats, f Facts, name string) uint64 {
	n, ok := r.number(name)
	if ok {
		s.Known |= f
	}
	return n
}

// limit is a file of one number or "max".
func (r *reader) limit(name string) uint64 {
	n, ok := r.number(name)
	if !ok {
		return Unlimited
	}
	return n
}

func (s *Stats) blkio(r *reader) {
	var ok bool
	s.IO.ReadBytes, s.IO.WriteBytes, ok = r.blkio("blkio.throttle.io_service_bytes_recursive")
	s.IO.ReadOps, s.IO.WriteOps, _ = r.blkio("blkio.throttle.io_serviced_recursive")
	if ok {
		s.Known |= KnowsIO
	}
}

// blkio sums the lines "major:minor Read number" and those with Write.
func (r *reader) blkio(name string) (read, write uint64, ok bool) {
	data := r.file(name)
	for ok = len(data) > 0; len(data) > 0; {
		var row []byte
		row, data = cutLine(data)
		_, row = cutWord(row)
		op, row := cutWord(row)
		n, _ := parseUint(row)
		switch string(op) {
		case "Read":
			read += n
		case "Write":
			write += n
		}
	}
	return read, write, ok
}

// ioStat sums the lines "major:minor rbytes=1 wbytes=2 rios=3 wios=4 ...". A
// group that did nothing has none.
func (s *Stats) ioStat(r *reader) {
	before := r.found
	for data := r.file("io.stat"); len(data) > 0; {
		var row []byte
		row, data = cutLine(data)
		s.IO.add(row)
	}
	if r.found > before {
		s.Known |= KnowsIO
	}
}

func (sum *IO) add(row []byte) {
	for len(row) > 0 {
		var word []byte
		word, row = cutWord(row)
		equals := bytes.IndexByte(word, '=')
		if equals < 0 {
			continue
		}
		n, _ := parseUint(word[equals+1:])
		switch string(word[:equals]) {
		case "rbytes":
			sum.ReadBytes += n
		case "wbytes":
			sum.WriteBytes += n
		case "rios":
			sum.ReadOps += n
		case "wios":
			sum.WriteOps += n
		}
	}
}

// pressure reads "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full".
// Some kernels have no "full" for processors.
func (r *reader) pressure(name string, p *Pressure) {
	for data := r.file(name); len(data) > 0; {
		var row []byte
		row, data = cutLine(data)
		kind, row := cutWord(row)
		stall := &p.Some
		if string(kind) == "full" {
			stall = &p.Full
		}
		stall.Known = true
		for len(row) > 0 {
			var word []byte
			word, row = cutWord(row)
			equals := bytes.IndexByte(word, '=')
			if equals < 0 {
				continue
			}
			stall.set(word[:equals], word[equals+1:])
		}
	}
}

func (s *Stall) set(key, value []byte) {
	if string(key) == "total" {
		us, _ := parseUint(value)
		s.Total = time.Duration(min(us, 1<<53)) * time.Microsecond
		return
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil {
		return
	}
	switch string(key) {
	case "avg10":
		s.Avg10 = f
	case "avg60":
		s.Avg60 = f
	case "avg300":
		s.Avg300 = f
	}
}

func cutLine(data []byte) (row, rest []byte) {
	row, rest, _ = bytes.Cut(data, []byte{'\n'})
	return row, rest
}

// cutPair cuts off a line "key number"; a line without a number has no key.
func cutPair(data []byte) (key []byte, value uint64, rest []byte) {
	row, rest := cutLine(data)
	key, text := cutWord(row)
	value, ok := parseUint(text)
	if !ok {
		key = nil
	}
	return key, value, rest
}

func cutWord(row []byte) (word, rest []byte) {
	word, rest, _ = bytes.Cut(row, []byte{' '})
	return word, rest
}

// parseUint reads digits only; anything else, or too many, is not a number.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
