package fuse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unsquash"
	"github.com/siflet/siflet/test/samples"
)

func image(tb testing.TB, c squashfs.Compression) []byte {
	tb.Helper()
	var m samples.File
	w, err := squashfs.New(context.Background(), &m, squashfs.Options{Compression: c})
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Abort()
	data := strings.Repeat("text", 100_000)
	err = errors.Join(
		w.Add(squashfs.Entry{Path: "d", Mode: 0o040755, Xattrs: map[string]string{"trusted.overlay.opaque": "y"}}, nil),
		w.Add(squashfs.Entry{Path: "d/file", Mode: 0o100644, Size: int64(len(data))}, strings.NewReader(data)),
		w.Add(squashfs.Entry{Path: "d/small", Mode: 0o100644, Size: 5}, strings.NewReader("small")),
		w.Add(squashfs.Entry{Path: "link", Mode: 0o120777, Target: "d/file"}, nil),
	)
	if err != nil {
		tb.Fatal(err)
	}
	size, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return m.B[:size]
}

// asked is a worker whom only the test asks.
func asked(raw []byte) (*worker, error) {
	fs, err := unsquash.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	fs.KeepBlocks(make([]byte, minBlocks*fs.BlockSize()))
	s := &Server{fs: fs, dev: linux.NoFD, o: Options{ListTrusted: true, Complain: func(error) {}}}
	return &worker{Server: s, out: make([]byte, headSize+maxRead+pageSize)}, nil
}

func ask(op uint32, node uint64, body []byte) []byte {
	le := binary.NativeEndian
	b := make([]byte, requestHead, requestHead+len(body))
	le.PutUint32(b, uint32(requestHead+len(body)))
	le.PutUint32(b[4:], op)
	le.PutUint64(b[8:], 77)
	le.PutUint64(b[16:], node)
	return append(b, body...)
}

func words(list ...uint32) []byte {
	var b []byte
	for _, v := range list {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// numberOf is the error of an answer, which has to be one.
func numberOf(tb testing.TB, answer []byte) errno {
	tb.Helper()
	le := binary.NativeEndian
	if len(answer) < headSize || int(le.Uint32(answer)) != len(answer) || le.Uint64(answer[8:]) != 77 {
		tb.Fatalf("no answer: %x", answer[:min(len(answer), headSize)])
	}
	return errno(-int32(le.Uint32(answer[4:])))
}

func TestAnswers(t *testing.T) {
	w, err := asked(image(t, squashfs.Zstd))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.NativeEndian
	node := func(parent uint64, name string) uint64 {
		a := w.answer(ask(opLookUp, parent, []byte(name+"\x00")))
		if n := numberOf(t, a); n != 0 {
			t.Fatalf("look up %s: error %d", name, n)
		}
		return le.Uint64(a[headSize:])
	}
	dir := node(rootNode, "d")
	file := node(dir, "file")
	if up := node(dir, ".."); up != rootNode && up != 0 {
		t.Errorf("the parent of a directory in the root = %d", up)
	}
	if none := node(dir, "none"); none != 0 {
		t.Errorf("a name that is not there = %d, want 0, to be remembered", none)
	}
	a := w.answer(ask(opRead, file, words(0, 0, 262_146, 0, 10)))
	if numberOf(t, a) != 0 || string(a[headSize:]) != "xttexttext" {
		t.Errorf("read = %q", a[headSize:])
	}
	for name, c := range map[string]struct {
		request []byte
		want    errno
	}{
		"a write":                    {ask(opWrite, file, make([]byte, 50)), errReadOnly},
		"an unknown request":         {ask(4711, file, nil), errUnknown},
		"a name without an end":      {ask(opLookUp, rootNode, []byte("d")), errInvalid},
		"a short read":               {ask(opRead, file, words(0)), errInvalid},
		"a read of a directory":      {ask(opRead, dir, words(0, 0, 0, 0, 10)), errIO},
		"a list of a file":           {ask(opReadDir, file, words(0, 0, 0, 0, 4096)), errIO},
		"a name in a file":           {ask(opLookUp, file, []byte("x\x00")), errNotDirectory},
		"an inode that is none":      {ask(opGetAttr, 1<<40, nil), errIO},
		"an attribute without room":  {ask(opGetXattr, dir, append(words(0, 0), "user.overlay.opaque\x00"...)), 0},
		"an attribute not there":     {ask(opGetXattr, dir, append(words(9, 0), "user.none\x00"...)), errNoData},
		"too little room for a list": {ask(opListXattr, dir, words(3, 0)), errRange},
		"an old kernel":              {ask(opInit, 0, words(7, 12, 0, 0)), errProtocol},
	} {
		if got := numberOf(t, w.answer(c.request)); got != c.want {
			t.Errorf("%s = error %d, want %d", name, got, c.want)
		}
	}
	if a := w.answer(ask(opForget, file, words(1, 0))); a != nil {
		t.Errorf("an answer to what wants none: %x", a)
	}
}

// FuzzAnswer has an image and requests made up: every request has an answer.
func FuzzAnswer(f *testing.F) {
	for _, c := range []squashfs.Compression{squashfs.Gzip, squashfs.Zstd} {
		raw := image(f, c)
		f.Add(raw, ask(opLookUp, rootNode, []byte("d\x00")))
		f.Add(raw, ask(opReadDirPlus, rootNode, words(0, 0, 0, 0, 4096)))
		f.Add(raw, ask(opListXattr, firstNode, words(100, 0)))
		f.Add(raw, ask(opRead, firstNode, words(0, 0, 0, 0, 1<<17)))
	}
	f.Fuzz(func(t *testing.T, raw, request []byte) {
		w, err := asked(raw)
		if err != nil {
			return
		}
		nodes := []uint64{rootNode}
		a := w.answer(ask(opReadDirPlus, rootNode, words(0, 0, 0, 0, 1<<16)))
		for at := headSize; len(a)-at > entrySize+24; {
			if n := binary.NativeEndian.Uint64(a[at:]); n != 0 && len(nodes) < 20 {
				nodes = append(nodes, n)
			}
			at += entrySize + (24+int(binary.NativeEndian.Uint32(a[at+entrySize+16:]))+7)/8*8
		}
		for _, node := range nodes {
			for _, op := range []uint32{opGetAttr, opReadLink, opRead, opReadDir, opReadDirPlus, opListXattr, opLookUp} {
				body := words(0, 0, 0, 0, 1<<17)
				if op == opLookUp {
					body = []byte("small\x00")
				}
				_ = numberOf(t, w.answer(ask(op, node, body))) // any will do
			}
		}
		if len(request) <= requestSize {
			w.answer(request)
		}
	})
}
