package unsquash

import (
	"errors"
	"path"
	"strings"
)

// Preload unpacks the beginning of a file, up to limit bytes, into the memory of KeepBlocks,
// for somebody who is about to read it. Links on the way are followed. It is a hint: what is
// wrong is for who reads to find out. It says whether there is such a file.
func (s *Reader) Preload(name string, limit int64) bool {
	i, err := s.follow(name)
	if err != nil || i.kind != typeFile || s.blocks == nil {
		return false
	}
	size := int64(s.blockSize)
	limit = min(limit, int64(i.size))
	words := &position{at: i.start, words: i.blocks}
	none := func([]byte) error { return nil }
	for offset := int64(0); offset < limit; offset += size {
		var at uint64
		var word uint32
		if words.number < i.blockCount(size) {
			at, word, err = words.next()
		} else {
			at, word, err = s.fragment(i)
		}
		if err == nil && word&storedBlock == 0 && word != 0 {
			err = s.blocks.use(int64(at), func(memory []byte) (int, error) { return s.unpackAt(memory, at, word) }, none)
		}
		if err != nil {
			break
		}
	}
	return true
}

// follow is the inode at a path, or where the links in that lead to.
func (s *Reader) follow(name string) (*Info, error) {
	const most = 40
	left, here := name, "."
	for links := 0; ; {
		part, rest, _ := strings.Cut(strings.TrimLeft(left, "/"), "/")
		if part == "" {
			return s.find("preload", here)
		}
		there := path.Join("/", here, part)[1:] // which is below the root
		if there == "" {
			there = "."
		}
		i, err := s.find("preload", there)
		if err != nil {
			return nil, err
		}
		if left = rest; i.kind != typeSymlink {
			here = there
			continue
		}
		if links++; links > most {
			return nil, errors.New("too many links")
		}
		if left = i.Target + "/" + rest; path.IsAbs(left) {
			here = "."
		}
	}
}
