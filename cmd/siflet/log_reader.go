package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// logReader reads a log in the kubelet's format,
//
//	TIME STREAM F|P TEXT
//
// where P says that the line goes on in the next record of the stream.
type logReader struct {
	path    string
	rotated bool                       // older parts are beside it: path.1, path.2, ...
	live    func(context.Context) bool // more may come
	// skip is how much of the file is of no interest.
	skip int64
}

// record is one of a log, as it is shown.
type logRecord struct {
	text    []byte
	partial bool
}

// logView picks records and writes them.
type logView struct {
	w      io.Writer
	o      logOptions
	middle [2]bool // of a line: of standard output, of standard error
	last   []logRecord
	lines  int  // of last
	hold   bool // what is shown is not known before the end
}

// show writes what there is and then, when following, what comes.
func (l *logReader) show(ctx context.Context, w io.Writer, o logOptions) error {
	view := &logView{w: w, o: o, hold: o.tail >= 0}
	older := l.older()
	if l.skip > 0 {
		older = nil
	}
	for _, path := range older {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("log %s: %w", path, unwrapPath(err))
		}
		err = view.read(f)
		_ = f.Close() // read only
		if err != nil {
			return err
		}
	}
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("log %s: %w", l.path, unwrapPath(err))
	}
	defer func() { _ = f.Close() }() // read only
	if _, err := f.Seek(l.skip, io.SeekStart); err != nil {
		return err
	}
	if err := view.read(f); err != nil {
		return err
	}
	if err := view.release(); err != nil || !o.follow {
		return err
	}
	return l.follow(ctx, &f, view)
}

// older are the parts that were put aside, the oldest first.
func (l *logReader) older() []string {
	var parts []string
	for n := 1; l.rotated; n++ {
		part := l.path + "." + strconv.Itoa(n)
		if _, err := os.Stat(part); err != nil {
			break
		}
		parts = append(parts, part)
	}
	slices.Reverse(parts)
	return parts
}

func (l *logReader) follow(ctx context.Context, f **os.File, view *logView) error {
	const pause = 200 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		live := l.live(ctx)
		if err := view.read(*f); err != nil {
			return err
		}
		next, err := l.after(*f)
		if err != nil {
			return err
		}
		if next != nil { // it was put aside, and is complete
			err := view.read(*f)
			_ = (*f).Close() // read only
			*f = next
			if err != nil {
				return err
			}
			continue
		}
		if !live {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// after opens what comes after a file: nil if it is the one in use.
func (l *logReader) after(f *os.File) (*os.File, error) {
	if isAt(f, l.path) {
		return nil, nil //nolint:nilnil // nothing comes
	}
	name := l.path
	for _, part := range l.older() {
		if isAt(f, part) {
			name = "" // what comes next is after it
		} else if name == "" {
			name = part
		}
	}
	next, err := os.Open(cmp.Or(name, l.path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // not yet
	}
	return next, err
}

// read shows the whole records from where the file is.
func (v *logView) read(f *os.File) error {
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) == 0 {
				return nil
			}
			// Half a record: it is read again when it is whole.
			_, err := f.Seek(-int64(len(line)), io.SeekCurrent)
			return err
		}
		if err != nil {
			return err
		}
		if err := v.record(line); err != nil {
			return err
		}
	}
}

func (v *logView) record(line []byte) error {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) < 4 {
		return nil
	}
	stream := 0
	if string(fields[1]) == "stderr" {
		stream = 1
	}
	begins := !v.middle[stream]
	partial := string(fields[2]) == "P"
	v.middle[stream] = partial
	if stream == 0 && !v.o.stdout || stream == 1 && !v.o.stderr {
		return nil
	}
	if !v.o.from.IsZero() {
		// A time that is none is the zero time: before everything.
		if at, _ := time.Parse(time.RFC3339Nano, string(fields[0])); at.Before(v.o.from) {
			return nil
		}
	}
	text := fields[3]
	if partial {
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	if v.o.timestamps && begins {
		text = slices.Concat(fields[0], []byte(" "), text)
	}
	if !v.hold {
		_, err := v.w.Write(text)
		return err
	}
	v.keep(logRecord{text: text, partial: partial})
	return nil
}

// keep remembers the last lines.
func (v *logView) keep(r logRecord) {
	v.last = append(v.last, r)
	if !r.partial {
		v.lines++
	}
	for v.lines > v.o.tail {
		if !v.last[0].partial {
			v.lines--
		}
		v.last = v.last[1:]
	}
}

// release shows what was held back; what comes is shown at once.
func (v *logView) release() error {
	v.hold = false
	for _, r := range v.last {
		if _, err := v.w.Write(r.text); err != nil {
			return err
		}
	}
	v.last = nil
	return nil
}
