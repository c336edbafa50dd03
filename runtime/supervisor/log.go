package supervisor

import (
	"bytes"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

const (
	// maxLine is where the kubelet's format splits a line.
	maxLine = 16 << 10
	// lineRoom is what append needs of its destination: a line and its head.
	lineRoom = maxLine + 64
	// keepRest is how much memory an idle stream may keep for its next line.
	keepRest = 512
)

// criLines turns a stream into the kubelet's log format: one record a line,
//
//	2006-01-02T15:04:05.999999999Z stdout F text
//
// with P for F where the line goes on in the next record. Unlike containerd
// it keeps a carriage return before the newline: the log has every byte.
type criLines struct {
	stream string
	rest   []byte // a line whose end has not come yet, at most maxLine
}

// append adds records for p to dst, as far as they fit into its capacity
// (lineRoom at least), and returns what of p is left.
func (l *criLines) append(dst, p []byte, now time.Time) (out, left []byte) {
	for len(p) > 0 && cap(dst)-len(dst) >= lineRoom {
		end := bytes.IndexByte(p, '\n')
		text, full := p, end >= 0
		if full {
			text = p[:end]
		}
		room := maxLine - len(l.rest)
		if len(text) > room {
			dst = l.record(dst, 'P', text[:room], now)
			p = p[room:]
			continue
		}
		if !full {
			l.rest = append(l.rest, p...)
			return dst, nil
		}
		dst = l.record(dst, 'F', text, now)
		p = p[end+1:]
	}
	return dst, p
}

// flush adds the unfinished line, if any, as a partial one.
func (l *criLines) flush(dst []byte, now time.Time) []byte {
	if len(l.rest) == 0 {
		return dst
	}
	return l.record(dst, 'P', nil, now)
}

func (l *criLines) record(dst []byte, tag byte, text []byte, now time.Time) []byte {
	dst = now.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, ' ')
	dst = append(dst, l.stream...)
	dst = append(dst, ' ', tag, ' ')
	dst = append(dst, l.rest...)
	if l.rest = l.rest[:0]; cap(l.rest) > keepRest {
		l.rest = nil
	}
	dst = append(dst, text...)
	return append(dst, '\n')
}

// logFile is a file that is only appended to. Writing never fails: what a
// full disk does not take is dropped and counted.
type logFile struct {
	path string
	fd   linux.FD
	mode uint32
	// torn says that a record was cut off; records is whether to care.
	records, torn bool
	dropped       int64
	// size is that of the file where max, its limit, is not zero; keep is how many
	// files there may be.
	size, max int64
	keep      int
}

func (f *logFile) write(p []byte) {
	for f.max > 0 && f.size+int64(len(p)) > f.max {
		// A line is not cut in two, unless it has no end.
		room := max(f.max-f.size, 0)
		n := bytes.LastIndexByte(p[:room], '\n') + 1
		if n == 0 && f.size == 0 {
			n = int(room)
		}
		f.put(p[:n])
		p = p[n:]
		f.rotate()
	}
	f.put(p)
}

func (f *logFile) put(p []byte) {
	if f.torn && len(p) > 0 {
		// The reader must not take the next record for the end of a torn one.
		if n, _ := f.fd.Write([]byte{'\n'}); n == 0 {
			f.dropped += int64(len(p))
			return
		}
		f.torn = false
	}
	whole := p
	for len(p) > 0 {
		n, err := f.fd.Write(p)
		p = p[n:]
		f.size += int64(n)
		if err != nil {
			f.dropped += int64(len(p))
			written := len(whole) - len(p)
			f.torn = f.records && written > 0 && whole[written-1] != '\n'
			return
		}
	}
}

// rotate moves the file away and begins another. If that does not work, it goes on
// with the old one.
func (f *logFile) rotate() {
	f.size = 0
	for n := f.keep - 1; n > 0; n-- {
		from := f.path
		if n > 1 {
			from += "." + strconv.Itoa(n-1)
		}
		_ = linux.Rename(from, f.path+"."+strconv.Itoa(n))
	}
	if f.keep < 2 { //nolint:mnd // no old one is kept
		_ = linux.Unlink(f.path)
	}
	old := f.fd
	if _, err := f.open(); err != nil {
		f.fd = old
		return
	}
	_ = old.Close()
}

// open opens the file; created tells whether it is new.
func (f *logFile) open() (created bool, err error) {
	f.fd, created, err = linux.OpenAppend(f.path, f.mode)
	if f.max > 0 && err == nil {
		f.size = f.fd.Size()
	}
	return created, err
}

// logs are a container's log files.
type logs struct {
	cri, out, err *logFile
}

func newLogs(c *LogConfig) (logs, error) {
	l := logs{}
	if c.CRI != "" {
		l.cri = &logFile{path: c.CRI, mode: 0o640, records: true, fd: linux.NoFD}
	}
	if c.Out != "" {
		l.out = &logFile{path: c.Out, mode: 0o644, fd: linux.NoFD}
	}
	if c.Err != "" {
		l.err = &logFile{path: c.Err, mode: 0o644, fd: linux.NoFD}
	}
	l.each(func(f *logFile) { f.max, f.keep = c.MaxSize, c.MaxFiles })
	return l, l.open()
}

func (l *logs) each(f func(*logFile)) {
	for _, file := range [...]*logFile{l.cri, l.out, l.err} {
		if file != nil {
			f(file)
		}
	}
}

// open opens all files, or none: one that it made is removed again.
func (l *logs) open() (err error) {
	var made []string
	l.each(func(f *logFile) {
		if err != nil {
			return
		}
		var created bool
		if created, err = f.open(); created {
			made = append(made, f.path)
		}
	})
	if err == nil {
		return nil
	}
	l.close()
	for _, path := range made {
		_ = linux.Unlink(path)
	}
	return err
}

// reopen starts new files where the old ones were moved away. After an error
// the old ones stay in use.
func (l *logs) reopen() error {
	fresh := logs{}
	for _, p := range [...]struct{ to, from **logFile }{{&fresh.cri, &l.cri}, {&fresh.out, &l.out}, {&fresh.err, &l.err}} {
		if old := *p.from; old != nil {
			*p.to = &logFile{path: old.path, mode: old.mode, records: old.records, dropped: old.dropped, max: old.max, keep: old.keep, fd: linux.NoFD}
		}
	}
	if err := fresh.open(); err != nil {
		return err
	}
	l.close()
	*l = fresh
	return nil
}

func (l *logs) close() {
	l.each(func(f *logFile) {
		_ = f.fd.Close()
		f.fd = linux.NoFD
	})
}
