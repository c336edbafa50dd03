package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/unpack"
	"github.com/siflet/siflet/runtime/unsquash"
)

// unpackerName is what siflet is called, as argv[0], when it unpacks images for another and
// removes them when nobody uses them any more.
const unpackerName = "siflet-unpacker"

// past is a deadline that is over.
var past = time.Unix(1, 0)

// unpacker is the process: see unpacking.
type unpacker struct {
	request unpackRequest
	wrote   atomic.Int64
	total   int64

	mu      sync.Mutex
	replies *os.File
}

func runUnpacker() int {
	const replies = 3
	u := &unpacker{replies: os.NewFile(replies, "replies")}
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(text, &u.request)
	}
	if err == nil {
		err = errors.Join(os.Chdir("/"), os.Stdin.Close())
	}
	if err == nil {
		err = u.all()
	}
	if err != nil {
		_ = u.removeWhenFree()
		return exitFatal
	}
	u.wrote, u.total = atomic.Int64{}, 0
	debug.FreeOSMemory() // it may be long
	if err := u.removeWhenFree(); err != nil {
		return exitFatal
	}
	return 0
}

// all unpacks everything and says how that ended.
func (u *unpacker) all() error {
	if prefix, err := scratchPrefix(); err == nil {
		sweep(filepath.Dir(u.request.Dir), prefix) // also of files that are not the caller's own
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		u.report(ctx, cancel)
	}()
	var reply unpackReply
	err := u.each(ctx, &reply.Extent)
	cancel()
	<-ended
	reply.Done = err == nil
	if err != nil {
		reply.Error, reply.NoRoom = err.Error(), full(err)
	}
	return errors.Join(err, u.reply(&reply), u.replies.Close())
}

func full(err error) bool {
	return errors.Is(err, unpack.ErrNoRoom) || errors.Is(err, linux.ENOSPC) || errors.Is(err, linux.EDQUOT)
}

// report says how far it is, until the end or until nobody wants to know any more.
func (u *unpacker) report(ctx context.Context, cancel func()) {
	const pause = 100 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := u.reply(&unpackReply{Wrote: u.wrote.Load(), Total: atomic.LoadInt64(&u.total)}); err != nil {
			cancel()
			return
		}
	}
}

func (u *unpacker) reply(r *unpackReply) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err = u.replies.Write(append(text, '\n'))
	return err
}

// each looks at all file systems before it writes the first. at is which one it is at.
func (u *unpacker) each(ctx context.Context, at *int) error {
	dir, err := openDirectory(u.request.Dir)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // read only
	free, files, err := linux.Free(int(dir.Fd()))
	if err != nil {
		return err
	}
	const most = 1<<63 - 1
	left := unpack.Size{Bytes: int64(min(free, most)), Files: int64(min(files, most))}
	readers := make([]*unsquash.Reader, len(u.request.Extents))
	total := int64(0)
	for i, e := range u.request.Extents {
		*at = i
		image, err := linux.OpenImage(e.Path, e.Exact)
		if err != nil {
			return err
		}
		defer linux.Close(image)
		if readers[i], err = unpack.Open(io.NewSectionReader(linux.FD(image), e.Offset, e.Size), e.Size); err != nil {
			return err
		}
		size, err := unpack.Measure(ctx, readers[i], left)
		if errors.Is(err, unpack.ErrNoRoom) {
			return fmt.Errorf("%w: %s are free, and %d files", unpack.ErrNoRoom, bytesIEC(free), files)
		}
		if err != nil {
			return err
		}
		left.Bytes, left.Files, total = left.Bytes-size.Bytes, left.Files-size.Files, total+size.Bytes
	}
	atomic.StoreInt64(&u.total, total)
	for i := range readers {
		*at = i
		if err := u.one(ctx, dir, i, readers[i]); err != nil {
			return err
		}
	}
	goruntime.KeepAlive(readers)
	return nil
}

func (u *unpacker) one(ctx context.Context, dir *os.File, i int, r *unsquash.Reader) error {
	to, err := linux.NewDir(int(dir.Fd()), strconv.Itoa(i))
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // read only
	return unpack.Tree(ctx, r, to, unpack.Options{Owners: u.request.Owners, Wrote: func(n int64) { u.wrote.Add(n) }})
}

// removeWhenFree removes the directories when nobody uses them any more.
func (u *unpacker) removeWhenFree() error {
	dir, err := openDirectory(u.request.Dir)
	if err != nil {
		return err
	}
	if err := linux.LockWhenFree(dir); err != nil {
		return err
	}
	if !isAt(dir, u.request.Dir) {
		return nil
	}
	return errors.Join(os.RemoveAll(u.request.Dir), dir.Close())
}

// unpackHere makes a directory of a file system that is to be mounted at a place, where
// nothing can serve it, for somebody who may mount that.
func unpackHere(ctx context.Context, owners bool) build.MountFunc {
	return func(name, fsType string, offset, size int64, at string) error {
		if fsType != "squashfs" {
			return fmt.Errorf("%s: file systems of type %s can be mounted by root alone", name, fsType)
		}
		beside := at + ".files"
		if err := os.Mkdir(beside, 0o700); err != nil {
			return err
		}
		u := &unpacker{request: unpackRequest{Dir: beside, Owners: owners, Extents: []program.Extent{{Path: name, Offset: offset, Size: size, FS: fsType}}}}
		var which int
		if err := u.each(ctx, &which); err != nil {
			if full(err) {
				return fmt.Errorf("unpack %s: %w; name another directory with --tmpdir", name, err)
			}
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		return linux.BindAt(filepath.Join(beside, "0"), at)
	}
}
