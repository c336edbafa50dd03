package cgroups

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// removeAll removes a group's directory tree. EBUSY means that some group in
// it has members.
func removeAll(dir string) error {
	err := unix.Rmdir(dir)
	if !errors.Is(err, unix.EBUSY) {
		if err = ignore(err, unix.ENOENT); err != nil {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		return nil
	}
	children, err := children(dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		if err := removeAll(child); err != nil {
			return err
		}
	}
	if err := ignore(unix.Rmdir(dir), unix.ENOENT); err != nil {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// walk calls visit for dir and all directories below it, parents first. A
// directory that vanishes is skipped.
func walk(dir string, visit func(dir string) error) error {
	if err := visit(dir); err != nil {
		return err
	}
	below, err := children(dir)
	if err != nil {
		return err
	}
	for _, child := range below {
		if err := walk(child, visit); err != nil {
			return err
		}
	}
	return nil
}

func children(dir string) ([]string, error) {
	// A control group's directory has a link for each directory in it and two more:
	// that spares reading the names of all its files.
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err == nil && st.Nlink == 2 {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, dir+"/"+e.Name())
		}
	}
	return dirs, nil
}

// poll calls done, ever less often, until it says so or fails or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	const longest = 10 * time.Millisecond
	delay := 100 * time.Microsecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		timer.Reset(delay)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		delay = min(delay*3/2, longest)
	}
}

// ignore is nil for the errors that the caller takes for success.
func ignore(err error, expected ...error) error {
	for _, e := range expected {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}
