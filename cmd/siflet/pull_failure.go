package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/convert"
	"github.com/siflet/siflet/runtime/source"
)

// usable finds out before anything is fetched that what the flags name is there.
func (o *pullOptions) usable() error {
	if o.auth != "" {
		if err := readableFile(o.auth); err != nil {
			return fmt.Errorf("--authfile %s: %w", o.auth, unwrapPath(err))
		}
	}
	if o.tmp != "" {
		f, err := os.CreateTemp(o.tmp, ".siflet-pull-*")
		if err == nil {
			err = errors.Join(os.Remove(f.Name()), f.Close())
		}
		if _, there := os.Stat(o.tmp); errors.Is(err, os.ErrNotExist) && there == nil {
			return fmt.Errorf("--tmpdir %s: can't make files there", o.tmp)
		}
		if err != nil {
			return fmt.Errorf("--tmpdir %s: can't write there: %w", o.tmp, unwrapPath(err))
		}
	}
	return nil
}

func readableFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("it is a directory; name the file in it")
	}
	return err
}

// pullFailure is what a person should read when uri could not be written to
// output: not of the files that it is made of.
func (o *pullOptions) pullFailure(err error, uri, output, scratch string) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		switch {
		case isWithin(scratch, path.Path):
			return fmt.Errorf("write %s: %w", output, path.Err)
		case isWithin(o.tmp, path.Path):
			return temporaryFailure(o.tmp, path)
		}
	}
	return fmt.Errorf("pull %s: %w", source.Shown(uri), err)
}

// temporaryFailure is what a person should read when dir, where temporary files go, did
// not take one.
func temporaryFailure(dir string, err error) error {
	return fmt.Errorf("write temporary files in %s: %w; name another directory with --tmpdir", dir, unwrapPath(err))
}

// isWithin says that path is dir or something in it.
func isWithin(dir, path string) bool {
	dir, dirErr := filepath.Abs(dir)
	path, err := filepath.Abs(path)
	return errors.Join(dirErr, err) == nil && (path == dir || strings.HasPrefix(path, dir+"/"))
}

// unwrapLink drops the paths that an error of a rename repeats.
func unwrapLink(err error) error {
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

// warnLost says what of an image is not in the file that was made of it.
func warnLost(w io.Writer, lost convert.Lost) {
	if lost.ACLs > 0 {
		warn(w, "%s can't be kept in a SIF file", counted(lost.ACLs, "POSIX ACL"))
	}
	for _, name := range slices.Sorted(maps.Keys(lost.Xattrs)) {
		warn(w, "%s %s can't be kept in a SIF file", counted(lost.Xattrs[name], "extended attribute"), printable(name))
	}
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
