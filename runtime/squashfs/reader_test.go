package squashfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// item is what the reader finds under a path.
type item struct {
	Mode, UID, GID, MTime, Links, Number uint32
	Target                               string
	Rdev                                 uint32
	Xattrs                               map[string]string
	Data                                 []byte
}

// image is a file system as a careful reader sees it: every offset is checked.
type image struct {
	raw         []byte
	compression uint16
	blockSize   uint32
	inodes      uint32
	at          [6]uint64 // ids, xattrs, inodes, directories, fragments, export
	ids         []byte
	fragments   []byte
	export      []byte
	xattrIDs    []byte
	xattrStart  uint64
	items       map[string]*item
	byNumber    map[uint32]*item
	unpacked    map[string][]byte // by what it was
	zstd        *zstd.Decoder
}

var le = binary.LittleEndian

const (
	atIDs = iota
	atXattrs
	atInodes
	atDirectories
	atFragments
	atExport
)

// open reads all of a file system.
func open(raw []byte) (img *image, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("corrupt: %v", r)
		}
		if img != nil && img.zstd != nil {
			img.zstd.Close()
		}
	}()
	img = &image{raw: raw, items: map[string]*item{}, byNumber: map[uint32]*item{}, unpacked: map[string][]byte{}}
	if len(raw)%4096 != 0 || le.Uint32(raw) != 0x73717368 || le.Uint32(raw[28:]) != 4 {
		return nil, errors.New("bad superblock")
	}
	used := le.Uint64(raw[40:])
	if used > uint64(len(raw)) || uint64(len(raw))-used >= 4096 {
		return nil, fmt.Errorf("%d bytes used of %d", used, len(raw))
	}
	img.inodes, img.blockSize, img.compression = le.Uint32(raw[4:]), le.Uint32(raw[12:]), le.Uint16(raw[20:])
	for i := range img.at {
		img.at[i] = le.Uint64(raw[48+8*i:])
	}
	img.ids = img.table(img.at[atIDs], 4*int(le.Uint16(raw[26:])))
	img.fragments = img.table(img.at[atFragments], 16*int(le.Uint32(raw[16:])))
	img.export = img.table(img.at[atExport], 8*int(img.inodes))
	if at := img.at[atXattrs]; at != 1<<64-1 {
		img.xattrStart = le.Uint64(raw[at:])
		n := int(le.Uint32(raw[at+8:]))
		img.xattrIDs = img.table(at+16, 16*n)
		if blocks := (16*n + 8191) / 8192; at+16+8*uint64(blocks) != used {
			return nil, errors.New("the table of extended attributes is not last")
		}
	}
	root := le.Uint64(raw[32:])
	img.walk(".", root)
	if len(img.byNumber) != int(img.inodes) {
		return nil, fmt.Errorf("%d inodes, not %d", len(img.byNumber), img.inodes)
	}
	return img, nil
}

func (img *image) unpack(b []byte, most int) []byte {
	if out, ok := img.unpacked[string(b)]; ok {
		return out
	}
	var out []byte
	var err error
	switch img.compression {
	case 1:
		z, zerr := zlib.NewReader(bytes.NewReader(b))
		check(zerr)
		out, err = io.ReadAll(io.LimitReader(z, int64(most)+1))
	case 5:
		out = make([]byte, most)
		var n int
		n, err = lz4.UncompressBlock(b, out)
		out = out[:max(n, 0)]
	case 6:
		if img.zstd == nil {
			img.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(max(img.blockSize, 8192))))
			check(err)
		}
		out, err = img.zstd.DecodeAll(b, nil)
	}
	check(err)
	if len(out) > most {
		panic("block too long")
	}
	if len(b) <= 8192 {
		img.unpacked[string(b)] = out
	}
	return out
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// metadata reads n bytes of metadata blocks from a reference on.
func (img *image) metadata(start, block, offset uint64, n int) []byte {
	var out []byte
	at := start + block
	for skip := int(offset); len(out) < n; skip = 0 {
		header := le.Uint16(img.raw[at:])
		size := uint64(header &^ 0x8000)
		b := img.raw[at+2 : at+2+size]
		if header&0x8000 == 0 {
			b = img.unpack(b, 8192)
		}
		if skip > 0 && skip >= len(b) {
			panic("reference behind a block's end")
		}
		out = append(out, b[skip:]...)
		at += 2 + size
	}
	return out[:n]
}

func (img *image) table(at uint64, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		block := le.Uint64(img.raw[at+8*uint64(i):])
		out = append(out, img.metadata(block, 0, 0, min(8192, n-len(out)))...)
	}
	return out
}
