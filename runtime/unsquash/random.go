package unsquash

import (
	"encoding/binary"
	"errors"
	"io/fs"
)

// KeepBlocks has blocks of data kept in memory from here on, which it divides among them,
// each with Slack: for those who read files at any place. It is called before anything is read.
func (s *Reader) KeepBlocks(memory []byte) {
	s.blocks = newBlockCache(memory, s.blockSize, func() { s.long() })
}

// BeforeLong has do called before something that takes a while: before the image is read or
// something unpacked, and before waiting for others who do so. It is called before anything is read.
func (s *Reader) BeforeLong(do func()) { s.long = do }

// Drop forgets what is kept in memory of blocks and metadata that nobody uses just now.
func (s *Reader) Drop() {
	s.blocks.drop()
	s.metadataCache.drop()
	s.indexes.drop()
}

// Size is how many bytes the file system has.
func (s *Reader) Size() int64 { return s.used }

// BlockSize is that of its blocks of data.
func (s *Reader) BlockSize() int { return s.blockSize }

// Inodes is how many inodes it says it has.
func (s *Reader) Inodes() int64 { return s.inodesN }

// RootRef is where the inode of its root is.
func (s *Reader) RootRef() uint64 { return s.root }

// InodeAt is the inode at a reference.
func (s *Reader) InodeAt(ref uint64) (*Info, error) { return s.inode(ref, "") }

// RefOf is where the inode of a number is. Some file systems do not tell.
func (s *Reader) RefOf(inode uint32) (uint64, error) {
	const size = 8
	if uint64(s.exports) == noTable {
		return 0, errors.ErrUnsupported
	}
	if inode == 0 || int64(inode) > s.inodesN {
		return 0, corrupt("inode %d of %d", inode, s.inodesN)
	}
	raw, err := s.lookup(s.exports, int64(inode-1)*size, size)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(raw), nil
}

// ReadOf reads a file of this file system at an offset. It reads less than there is room
// for at the file's end alone, or with an error. It may write Slack bytes between the length
// and the capacity of p.
func (s *Reader) ReadOf(i *Info, p []byte, offset int64) (int, error) {
	if i.kind != typeFile {
		return 0, wrongKind("read", i.name, "a file")
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	size := int64(s.blockSize)
	if offset >= int64(i.size) {
		return 0, nil
	}
	p = p[:min(int64(len(p)), int64(i.size)-offset)]
	done := 0
	var words *position
	for done < len(p) {
		number, from := offset/size, offset%size
		whole := min(size, int64(i.size)-number*size)
		part := p[done:min(int64(len(p)), int64(done)+whole-from)]
		var err error
		if number == i.blockCount(size) {
			err = s.readFragment(i, part, from)
		} else {
			if words == nil {
				words, err = s.seek(i, number)
			}
			if err == nil {
				err = s.readBlock(words, part, from, whole)
			}
		}
		if err != nil {
			return done, err
		}
		done, offset = done+len(part), offset+int64(len(part))
	}
	return done, nil
}

// blockCount is how many blocks a file has beside its fragment.
func (i *Info) blockCount(size int64) int64 {
	n := int64(i.size) / size
	if int64(i.size)%size != 0 && i.fragment == noFragment {
		n++
	}
	return n
}

// readBlock reads the next block of a file from an offset on; whole is how long it is.
func (s *Reader) readBlock(words *position, p []byte, from, whole int64) error {
	at, word, err := words.next()
	if err != nil {
		return err
	}
	if word == 0 {
		clear(p)
		return nil
	}
	return s.part(at, word, p, from, whole)
}

// part reads a part of a block of data that is whole bytes long, or longer if that is zero.
func (s *Reader) part(at uint64, word uint32, p []byte, from, whole int64) error {
	stored := int64(word &^ storedBlock)
	if stored > int64(s.blockSize) || int64(at) < superblockSize || int64(at) > s.used-stored {
		return corrupt("a block of %d bytes at %d", stored, at)
	}
	check := func(size int64) error {
		if whole != 0 && size != whole || from+int64(len(p)) > size {
			return corrupt("a block of %d bytes, not %d", size, max(whole, from+int64(len(p))))
		}
		return nil
	}
	if word&storedBlock != 0 {
		if err := check(stored); err != nil {
			return err
		}
		s.long()
		return readFull(s.r, p, int64(at)+from)
	}
	if int64(len(p)) == whole && !s.blocks.has(int64(at)) {
		size, err := s.unpackAt(p, at, word)
		if err != nil {
			return err
		}
		return check(int64(size))
	}
	take := func(data []byte) error {
		if err := check(int64(len(data))); err != nil {
			return err
		}
		copy(p, data[from:])
		return nil
	}
	if s.blocks == nil {
		data, err := s.data(at, word)
		if err != nil {
			return err
		}
		return take(data)
	}
	return s.blocks.use(int64(at), func(memory []byte) (int, error) { return s.unpackAt(memory, at, word) }, take)
}

// unpackAt unpacks the block of data at a place into dst.
func (s *Reader) unpackAt(dst []byte, at uint64, word uint32) (int, error) {
	stored := int64(word &^ storedBlock)
	if stored > int64(s.blockSize) || int64(at) < superblockSize || int64(at) > s.used-stored {
		return 0, corrupt("a block of %d bytes at %d", stored, at)
	}
	s.long()
	buf := s.unpack.borrow(max(s.blockSize, metadataSize+2))
	defer s.unpack.giveBack(buf)
	raw := (*buf)[:stored]
	if err := readFull(s.r, raw, int64(at)); err != nil {
		return 0, err
	}
	return s.inflate(dst, raw)
}

// fragment is where the fragment with a file's end is.
func (s *Reader) fragment(i *Info) (at uint64, word uint32, err error) {
	const size = 16
	if int64(i.fragment) >= s.fragmentsN {
		return 0, 0, corrupt("fragment %d of %d", i.fragment, s.fragmentsN)
	}
	raw, err := s.lookup(s.fragments, int64(i.fragment)*size, size)
	if err != nil {
		return 0, 0, err
	}
	return binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint32(raw[8:]), nil
}

func (s *Reader) readFragment(i *Info, p []byte, from int64) error {
	at, word, err := s.fragment(i)
	if err != nil {
		return err
	}
	return s.part(at, word, p, int64(i.offset)+from, 0)
}
