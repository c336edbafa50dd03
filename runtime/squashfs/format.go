package squashfs

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
	maxRun         = 256 // entries below one header of a directory
	maxIDs         = 65535
	maxTable       = 1<<32 - 1 // bytes of inodes, and of directories

	flagStoredInodes    = 1 << 0
	flagStoredData      = 1 << 1
	flagStoredFragments = 1 << 3
	flagDuplicates      = 1 << 6
	flagExport          = 1 << 7
	flagStoredXattrs    = 1 << 8
	flagOptions         = 1 << 10
	flagStoredIDs       = 1 << 11
)

// What Linux can hold.
const (
	maxName       = 255
	maxPath       = 4095
	maxTarget     = 4095
	maxXattrValue = 65536
	pageSize      = 4096
)

// Our own choices.
const (
	defaultBlockSize = 128 << 10
	defaultGzipLevel = 3
	defaultZstdLevel = 1
	// A rest of a file no longer than this share of a block goes into a fragment;
	// a longer one has a block of its own, to be read without its neighbours.
	fragmentShare = 2
	// maxXattrs bounds extended attributes, compressed, in memory.
	maxXattrs = 64 << 20
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

// The types in st_mode.
const (
	modeFormat    = 0o170000
	modeSocket    = 0o140000
	modeSymlink   = 0o120000
	modeFile      = 0o100000
	modeBlock     = 0o060000
	modeDirectory = 0o040000
	modeChar      = 0o020000
	modeFIFO      = 0o010000
	modeBits      = 0o7777
)

// inodeType is zero for what is no type.
func inodeType(mode uint32) uint16 {
	switch mode & modeFormat {
	case modeDirectory:
		return typeDirectory
	case modeFile:
		return typeFile
	case modeSymlink:
		return typeSymlink
	case modeBlock:
		return typeBlock
	case modeChar:
		return typeChar
	case modeFIFO:
		return typeFIFO
	case modeSocket:
		return typeSocket
	default:
		return 0
	}
}
