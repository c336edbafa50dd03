// Package unsquash reads squashfs 4.0 file systems without mounting them, and so without
// root, from the beginning to the end or at any place. It knows every compression that
// the kernel does. It trusts nothing it reads, and writes nothing.
package unsquash

// The format's own numbers.
const (
	magic          = 0x73717368
	superblockSize = 96
	metadataSize   = 8192
	storedMetadata = 1 << 15 // in a metadata block's header
	storedBlock    = 1 << 24 // in a data block's size
	noFragment     = 0xffffffff
	noXattrs       = 0xffffffff
	noTable        = 0xffffffffffffffff
	maxTarget      = 4095
	maxName        = 256
	maxRun         = 256 // entries below one header of a directory

	gzip      = 1
	lzma      = 2
	lzo1x     = 3
	xzStreams = 4
	lz4Blocks = 5
	zstandard = 6
)

// The types of inodes; the extended ones are typeExtended more.
const (
	typeDirectory = 1 + iota
	typeFile
	typeSymlink
	typeBlock
	typeChar
	typeFIFO
	typeSocket
	typeExtended = 7
)
