// Package unsquash reads squashfs 4.0 file systems without mounting them, and so without
// root: gzip, zstd and lz4. It trusts nothing it reads, and writes nothing.
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
	maxRun         = 256 // entries below one header of a directory

	gzip      = 1
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
