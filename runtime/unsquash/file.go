package unsquash

import (
	"encoding/binary"
	"io"
	"io/fs"
)

// Lstat describes what is at a path. The [fs.FileInfo] is an *[Info].
func (s *Reader) Lstat(name string) (fs.FileInfo, error) { return s.find("lstat", name) }

// Stat is Lstat.
func (s *Reader) Stat(name string) (fs.FileInfo, error) { return s.find("stat", name) }

// ReadLink is where the symbolic link at a path leads.
func (s *Reader) ReadLink(name string) (string, error) {
	i, err := s.find("readlink", name)
	if err != nil {
		return "", err
	}
	if i.kind != typeSymlink {
		return "", wrongKind("readlink", name, "a symbolic link")
	}
	return i.Target, nil
}

// Open opens a file or a directory, whose content can be read as it comes.
func (s *Reader) Open(name string) (fs.File, error) {
	i, err := s.find("open", name)
	if err != nil {
		return nil, err
	}
	return s.OpenOf(i)
}

// OpenOf opens an inode of this file system, without looking for it again.
func (s *Reader) OpenOf(i *Info) (fs.File, error) {
	if i.kind != typeFile && i.kind != typeDirectory {
		return nil, wrongKind("open", i.name, "a file or a directory")
	}
	return &file{s: s, info: i, left: int64(i.size), at: i.start, words: i.blocks}, nil
}

// maxEntries bounds what a directory may hold to be listed.
const maxEntries = 1 << 20

// ReadDir lists a directory.
func (s *Reader) ReadDir(name string) ([]fs.DirEntry, error) {
	i, err := s.find("readdir", name)
	if err != nil {
		return nil, err
	}
	return s.ReadDirOf(i)
}

// ReadDirOf lists a directory of this file system, without looking for it again.
func (s *Reader) ReadDirOf(i *Info) ([]fs.DirEntry, error) {
	if i.kind != typeDirectory {
		return nil, wrongKind("readdir", i.name, "a directory")
	}
	var list []fs.DirEntry
	err := s.each(i, func(name string, ref uint64, kind uint16) error {
		if len(list) >= maxEntries {
			return corrupt("a directory with more than %d entries", maxEntries)
		}
		list = append(list, entry{s, name, ref, kind})
		return nil
	})
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: i.name, Err: err}
	}
	return list, nil
}

// entry is one of a directory, whose inode is read when it is asked for.
type entry struct {
	s    *Reader
	name string
	ref  uint64
	kind uint16
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.kind == typeDirectory }
func (e entry) Type() fs.FileMode          { return kindMode(e.kind) }
func (e entry) Info() (fs.FileInfo, error) { return e.s.inode(e.ref, e.name) }

// file reads a file from its beginning to its end.
type file struct {
	s    *Reader
	info *Info
	left int64

	at    uint64 // the next block
	words cursor // the sizes of those to come
	block []byte // what is left of the one before
	holes int64  // zeros before anything else
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(b []byte) (int, error) {
	if f.info.kind != typeFile {
		return 0, wrongKind("read", f.info.name, "a file")
	}
	if len(b) == 0 {
		return 0, nil
	}
	for f.holes == 0 && len(f.block) == 0 {
		if f.left == 0 {
			return 0, io.EOF
		}
		if err := f.fill(); err != nil {
			return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: err}
		}
	}
	if f.holes > 0 {
		n := int(min(f.holes, int64(len(b))))
		clear(b[:n])
		f.holes -= int64(n)
		return n, nil
	}
	n := copy(b, f.block)
	f.block = f.block[n:]
	return n, nil
}

// fill reads the next block.
func (f *file) fill() error {
	n := min(f.left, int64(f.s.blockSize))
	if n < int64(f.s.blockSize) && f.info.fragment != noFragment {
		return f.fillRest(n)
	}
	raw, err := f.words.take(4)
	if err != nil {
		return err
	}
	word := binary.LittleEndian.Uint32(raw)
	if word == 0 {
		f.holes, f.left = n, f.left-n
		return nil
	}
	if f.block, err = f.s.data(f.at, word); err != nil {
		return err
	}
	if int64(len(f.block)) != n {
		return corrupt("a block of %d bytes, not %d", len(f.block), n)
	}
	f.at += uint64(word &^ storedBlock)
	f.left -= n
	return nil
}

// fillRest reads the end of the file out of a fragment.
func (f *file) fillRest(n int64) error {
	at, word, err := f.s.fragment(f.info)
	if err != nil {
		return err
	}
	all, err := f.s.data(at, word)
	if err != nil {
		return err
	}
	if from := int64(f.info.offset); from+n <= int64(len(all)) {
		f.block, f.left = all[from:from+n], 0
		return nil
	}
	return corrupt("a fragment of %d bytes ends too soon", len(all))
}

// data reads a block of data.
func (s *Reader) data(at uint64, word uint32) ([]byte, error) {
	n := int64(word &^ storedBlock)
	if n > int64(s.blockSize) || int64(at) < 0 {
		return nil, corrupt("a block of %d bytes at %d", n, at)
	}
	if word&storedBlock != 0 {
		return s.bytesAt(int64(at), n)
	}
	out := make([]byte, s.blockSize, s.blockSize+Slack)
	size, err := s.unpackAt(out, at, word)
	return out[:size], err
}
