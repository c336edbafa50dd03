package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/convert"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/linux"
)

// vacant says whether the image may be put where it is asked for; name is as the
// caller gave it.
func (j *job) vacant(name string) error {
	there, err := os.Lstat(j.output)
	switch {
	case errors.Is(err, os.ErrNotExist) && j.o.update:
		return fmt.Errorf("build target %q: there is no sandbox to update; leave out --update", name)
	case errors.Is(err, os.ErrNotExist):
		if parent, err := os.Stat(filepath.Dir(j.output)); err != nil || !parent.IsDir() {
			return noRoom(os.ErrNotExist, name)
		}
		return nil
	case err != nil:
		return fmt.Errorf("build target %q: %w", name, unwrapPath(err))
	case there.IsDir() && !j.o.sandbox:
		return fmt.Errorf("build target %q is a directory; name a file, or build a directory with --sandbox", name)
	case !there.IsDir() && !there.Mode().IsRegular() && there.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("build target %q is %s, which an image can't replace; name another", name, kindOf(there.Mode()))
	case there.IsDir() && !isSandbox(j.output):
		return fmt.Errorf("build target '%s' is not empty and no sandbox image; remove it if nobody needs it, or name another%s", name, j.removing())
	case j.o.update && !there.IsDir():
		return fmt.Errorf("build target %q is no sandbox: only a sandbox can be updated", name)
	case !j.o.force && !j.o.update:
		text := "build target '%s' already exists. Use --force if you want to overwrite it"
		if there.IsDir() {
			text += ", or --update to run the definition's sections on it"
		}
		return fmt.Errorf(text, name)
	}
	return nil
}

// removing says how a user who is not root removes what belongs to other ids.
func (j *job) removing() string {
	if linux.IsRoot() {
		return ""
	}
	return ". What belongs to other ids of yours goes by: siflet exec --fakeroot IMAGE rm -rf " + j.output
}

// isSandbox says that a directory looks like an image, or is empty: what else there is
// must not be removed.
func isSandbox(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(dir, ".singularity.d"))
	return err == nil || len(entries) == 0
}

// place puts what was made in the place of what is there.
func (j *job) place(made string) error {
	if err := j.vacant(j.output); err != nil {
		return err
	}
	there, err := os.Lstat(j.output)
	if err == nil && (there.IsDir() || j.o.sandbox) {
		// What was there goes with the scratch directory.
		if err := linux.Exchange(made, j.output); err == nil || !errors.Is(err, linux.EINVAL) {
			return wrapWrite(j.output, err)
		}
		// A file system that knows no exchange.
		if err := os.Rename(j.output, made+".old"); err != nil {
			return wrapWrite(j.output, err)
		}
	}
	return wrapWrite(j.output, os.Rename(made, j.output))
}

func wrapWrite(output string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write %s: %w", output, unwrapLink(err))
}

// keep saves what there is of an image that could not be built.
func (j *job) keep(b *build.Build) error {
	dir, err := os.MkdirTemp(j.o.temporary(), "siflet-failed-build-*")
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "rootfs")
	const patience = 10 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Keep(ctx, root); err != nil {
		return errors.Join(fmt.Errorf("keep the root file system: %w", err), os.RemoveAll(dir))
	}
	remove := "rm -rf " + dir
	if j.user != nil && j.feign == nil { // there may be files of others
		remove = "unshare --map-auto --map-root-user " + remove
	}
	info(j.stderr, "the root file system is kept in %s; remove it when it is of no more use: %s", root, remove)
	return nil
}

// unfinished is what a person should read when the sections could not be carried out.
func (j *job) unfinished(err error) error {
	path, ok := errors.AsType[*os.PathError](err)
	if errors.Is(err, linux.ENOSPC) || ok && isWithin(j.work.dir, path.Path) {
		return temporaryFailure(j.o.temporary(), err)
	}
	if _, ok := errors.AsType[*definition.Error](err); ok {
		return errors.Join(err, j.fullWorkplace(err))
	}
	return err
}

// fullWorkplace is an error if a section may have failed because there is no room for what
// it writes.
func (j *job) fullWorkplace(failed error) error {
	room, err := linux.RoomAt(j.work.dir)
	const little = 1 << 20
	full := room.FreeBytes < little || room.Inodes > 0 && room.FreeInodes == 0
	said := strings.ToLower(failed.Error())
	if err != nil || !full && !strings.Contains(said, "no space left on device") && !strings.Contains(said, "disk quota exceeded") {
		return nil //nolint:nilerr // what failed is told anyway
	}
	if room.Inodes > 0 && room.FreeInodes == 0 {
		return fmt.Errorf("--tmpdir %s, where sections write, can take no more files; make room there, or name another directory with --tmpdir", j.o.temporary())
	}
	return fmt.Errorf("--tmpdir %s, where sections write, has %s of room left; make room there, or name another directory with --tmpdir", j.o.temporary(), bytesIEC(room.FreeBytes))
}

// unwritten is what a person should read when the image could not be written: not of the
// files that it is made in.
func (j *job) unwritten(err error) error {
	if errors.Is(err, linux.ENOSPC) {
		return fmt.Errorf("write %s: %w", j.output, linux.ENOSPC)
	}
	if path, ok := errors.AsType[*os.PathError](err); ok && isWithin(j.beside.dir, path.Path) {
		return fmt.Errorf("write %s: %w", j.output, path.Err)
	}
	return err
}

func (j *job) warnLost(lost build.Lost) { warnLost(j.stderr, convert.Lost(lost)) }
