package unsquash

import "io/fs"

// Content hands the content of a file of this file system to do, from its beginning to its
// end but for its holes. The data is in buf, which has room for a block.
func (s *Reader) Content(i *Info, buf []byte, do func(data []byte, offset int64) error) error {
	return s.eachBlock(i, func(number, whole int64, at uint64, word uint32) error {
		data := buf[:whole]
		if err := s.part(at, word, data, 0, whole); err != nil {
			return &fs.PathError{Op: "read", Path: i.name, Err: err}
		}
		return do(data, number*int64(s.blockSize))
	}, func(n, offset int64) error {
		data := buf[:n]
		if err := s.readFragment(i, data, 0); err != nil {
			return &fs.PathError{Op: "read", Path: i.name, Err: err}
		}
		return do(data, offset)
	})
}

// DataSize is the size of a file of this file system but for its holes.
func (s *Reader) DataSize(i *Info) (sum int64, err error) {
	err = s.eachBlock(i, func(_, whole int64, _ uint64, _ uint32) error {
		sum += whole
		return nil
	}, func(n, _ int64) error {
		sum += n
		return nil
	})
	return sum, err
}

// eachBlock goes through the blocks of a file that are no holes, and to its end in a fragment.
func (s *Reader) eachBlock(i *Info, block func(number, whole int64, at uint64, word uint32) error, rest func(n, offset int64) error) error {
	if i.kind != typeFile {
		return wrongKind("read", i.name, "a file")
	}
	size := int64(s.blockSize)
	n := i.blockCount(size)
	p := &position{at: i.start, words: i.blocks}
	for number := range n {
		at, word, err := p.next()
		if err != nil {
			return &fs.PathError{Op: "read", Path: i.name, Err: err}
		}
		if word == 0 {
			continue
		}
		if err := block(number, min(size, int64(i.size)-number*size), at, word); err != nil {
			return err
		}
	}
	if left := int64(i.size) - n*size; left > 0 {
		return rest(left, n*size)
	}
	return nil
}
