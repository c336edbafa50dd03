package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// unpacking puts images into directories where nothing can serve them. The directories are
// below a scratch directory, whose lock is had, shared, by all who use them. A process of
// the same program writes them, as somebody who may give files to others, waits for the
// last of those, and removes all.
type unpacking struct {
	stderr io.Writer
	parent string // of the scratch directory
	why    error  // nil if it was asked for
	root   bool
	inside bool // the caller is somebody like that
	owners bool
	way    *runtime.Unprivileged
}

// unpackRequest is what such a process is asked to do, and unpackReply what it says of it:
// lines of JSON, the last of them with an error or Done.
type (
	unpackRequest struct {
		Dir     string
		Owners  bool
		Extents []program.Extent
	}
	unpackReply struct {
		Wrote, Total int64
		Done, NoRoom bool
		Error        string
		Extent       int
	}
)

func (u *unpacking) unpack(ctx context.Context, extents []program.Extent) (*runtime.Unpacked, error) {
	name := filepath.Base(extents[0].Path)
	if u.why != nil {
		warn(u.stderr, "%s is unpacked into a temporary directory in %s, for want of FUSE: %v", name, u.parent, u.why)
	} else {
		info(u.stderr, "Converting SIF file to temporary sandbox...")
	}
	ctx, stop := toldToStop(ctx)
	defer stop()
	s, err := u.scratch()
	if err != nil {
		return nil, err
	}
	child, replies, err := u.start(ctx, &unpackRequest{Dir: s.dir, Owners: u.owners, Extents: extents})
	if err != nil {
		return nil, errors.Join(err, s.remove())
	}
	release := func(wait bool) error {
		err := s.lock.Close()
		if wait {
			_, _, werr := child.Wait()
			err = errors.Join(err, werr)
		}
		return errors.Join(err, child.Close())
	}
	err = u.follow(ctx, replies, extents)
	_ = replies.Close() // read only; whoever writes there knows that nobody is interested
	if err != nil {
		return nil, errors.Join(err, release(true))
	}
	out := &runtime.Unpacked{Release: release}
	for i := range extents {
		out.Dirs = append(out.Dirs, filepath.Join(s.dir, strconv.Itoa(i)))
	}
	return out, nil
}

// scratch is a directory of which the lock is shared.
func (u *unpacking) scratch() (*scratch, error) {
	const tries = 10
	for range tries {
		s, err := newScratch(u.parent)
		if err != nil {
			return nil, fmt.Errorf("temporary directory %s: can't write there: %w; name another with --tmpdir or $SIFLET_TMPDIR", u.parent, unwrapPath(err))
		}
		shared, err := linux.TryShare(s.lock)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("temporary directory %s: there are no locks, by which others see what is in use: %w; name another with --tmpdir or $SIFLET_TMPDIR",
				u.parent, err), s.remove())
		}
		if shared && isAt(s.lock, s.dir) {
			return s, nil
		}
		_ = s.lock.Close() // somebody took it for one that was left
	}
	return nil, fmt.Errorf("somebody takes away every directory that is made in %s", u.parent)
}

// start starts the process.
func (u *unpacking) start(ctx context.Context, r *unpackRequest) (*linux.Child, *os.File, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	request, err := linux.MemFile("request", text)
	if err != nil {
		return nil, nil, err
	}
	defer request.Close() //nolint:errcheck // in memory
	null, err := linux.OpenNull()
	if err != nil {
		return nil, nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	replies, theirs, err := linux.NewPipe()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close() //nolint:errcheck // a pipe
	attr := linux.ForkAttr{
		Args: []string{unpackerName, r.Dir}, Env: []string{}, Files: []linux.FD{request, null, null, theirs}, PIDNamespace: linux.NoFD, Setsid: true,
	}
	if !u.inside {
		if attr.Own, err = u.way.Own(ctx, 0); err != nil {
			return nil, nil, errors.Join(err, replies.Close())
		}
		defer attr.Own.Close() //nolint:errcheck // a process of ours that waits
	}
	pid, pidfd, err := linux.Fork("/proc/self/exe", &attr)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start %s: %w", unpackerName, err), replies.Close())
	}
	return linux.NewChild(pid, pidfd), os.NewFile(uintptr(replies), "replies"), nil
}

// follow listens to the process until it has done what it was asked to.
func (u *unpacking) follow(ctx context.Context, replies *os.File, extents []program.Extent) error {
	bar := newProgress(u.stderr)
	defer bar.end()
	stop := context.AfterFunc(ctx, func() { _ = replies.SetReadDeadline(past) })
	defer stop()
	lines := bufio.NewScanner(replies)
	for lines.Scan() {
		var r unpackReply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("%s: %w", unpackerName, err)
		}
		switch {
		case r.NoRoom:
			return fmt.Errorf("unpack %s: %s; name another directory than %s with --tmpdir or $SIFLET_TMPDIR", extents[r.Extent].Path, r.Error, u.parent)
		case r.Error != "":
			return fmt.Errorf("unpack %s: %s", extents[r.Extent].Path, r.Error)
		case r.Done:
			return nil
		}
		bar.show(r.Wrote, r.Total)
	}
	if ctx.Err() != nil {
		return messageError{text: "INFO:    stopped; the image was not unpacked yet", code: exitInterrupted}
	}
	return fmt.Errorf("unpack %s: %s has ended before it was done", extents[0].Path, unpackerName)
}
