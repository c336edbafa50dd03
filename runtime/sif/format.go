// Package sif reads and writes the Singularity Image Format.
//
// A SIF file is a header, a table of descriptors and the objects they describe.
// The reader trusts nothing it reads: every count, size and offset is checked
// before it is used, and each error names the field that is wrong. The package
// does not mount, execute, verify signatures or decrypt; it says where in the
// file things are. It writes the one file named to Create.
package sif

import (
	"slices"
	"time"
)

const (
	launchScript = "#!/usr/bin/env run-singularity\n"
	magic        = "SIF_MAGIC"
	version      = "01"

	headerSize     = 128
	descriptorSize = 585
	usedOffset     = 4
	tableOffset    = 4096
	tableSlots     = 48
	spareSlots     = 8
	partitionAlign = 4096

	// maxDescriptors bounds the table. Singularity makes 48 slots; an OCI-SIF
	// has one per layer and OCI images stay under 130 layers.
	maxDescriptors = 4096

	groupMask = 0xf0000000
)

// DataType says what an object is.
type DataType int32

// The data types of the format.
const (
	TypeDefinition  DataType = 0x4001 + iota // definition file
	TypeEnvironment                          // environment variables
	TypeLabels                               // labels, JSON
	TypePartition                            // file system
	TypeSignature                            // signature of a group of objects
	TypeJSON                                 // named JSON document
	TypeGeneric                              // anything
	TypeCrypto                               // encryption key material
	TypeSBOM                                 // software bill of materials
	TypeOCIIndex                             // OCI root index: its presence makes an OCI-SIF
	TypeOCIBlob                              // OCI manifest, config or layer
)

// String names the type as siftool does.
func (t DataType) String() string {
	names := []string{
		"Def.FILE", "Env.Vars", "JSON.Labels", "FS", "Signature", "JSON.Generic",
		"Generic/Raw", "Cryptographic Message", "SBOM", "OCI.RootIndex", "OCI.Blob",
	}
	if t < TypeDefinition || t > TypeOCIBlob {
		return "unknown"
	}
	return names[t-TypeDefinition]
}

// FSType says what file system a partition holds.
type FSType int32

// The file systems of the format.
const (
	FSSquash          FSType = 1
	FSExt3            FSType = 2
	FSArchive         FSType = 3
	FSRaw             FSType = 4
	FSEncryptedSquash FSType = 5
)

// String is the name used by mount for those that can be mounted.
func (t FSType) String() string {
	switch t {
	case FSSquash:
		return "squashfs"
	case FSExt3:
		return "ext3"
	case FSArchive:
		return "archive"
	case FSRaw:
		return "raw"
	case FSEncryptedSquash:
		return "encrypted squashfs"
	default:
		return "unknown"
	}
}

// PartType says what a partition is for.
type PartType int32

// The partition types of the format.
const (
	PartSystem  PartType = 1
	PartPrimary PartType = 2
	PartData    PartType = 3
	PartOverlay PartType = 4
)

// Header is the global header of a SIF file.
type Header struct {
	// Launch is the first line: how the kernel runs the file as a program.
	Launch string
	// Version is the format's version.
	Version string
	// Arch is the GOARCH name of the primary partition, "unknown" for code 00.
	Arch string
	// ID is the UUID, all zero in a deterministic file.
	ID [16]byte
	// Created and Modified are as the file claims them.
	Created, Modified time.Time

	slotsFree, slots      int64
	tableOffset, tableLen int64
	dataOffset, dataLen   int64
}

// Descriptor describes one object.
type Descriptor struct {
	// Slot is the position in the table; ID is what other objects link to.
	Slot int
	ID   uint32
	Type DataType
	// Group is 0 for an object in no group. Link is an object's ID, or a group
	// when LinkIsGroup is set, and 0 for none.
	Group, Link uint32
	LinkIsGroup bool
	// Offset and Size lie within the file and overlap no other object.
	Offset, Size int64
	Modified     time.Time
	// Name has had control characters escaped.
	Name string
	// FS, Part and Arch are set for partitions.
	FS   FSType
	Part PartType
	Arch string
	// Digest is what an OCI object claims to be: "sha256:<hex>".
	Digest string
}

// archCodes lists the format's architecture codes at their index.
func archCodes() []string {
	return []string{
		"unknown", "386", "amd64", "arm", "arm64", "ppc64", "ppc64le", "mips",
		"mipsle", "mips64", "mips64le", "s390x", "riscv64", "loong64",
	}
}

// archName turns a code into a GOARCH name.
func archName(code string) (string, bool) {
	if len(code) != 2 || code[0] < '0' || code[0] > '9' || code[1] < '0' || code[1] > '9' {
		return "", false
	}
	n := int(code[0]-'0')*10 + int(code[1]-'0')
	names := archCodes()
	if n >= len(names) {
		return "", false
	}
	return names[n], true
}

// archCode turns a GOARCH name into a code.
func archCode(name string) (string, bool) {
	n := slices.Index(archCodes(), name)
	if n < 0 {
		return "", false
	}
	return string([]byte{byte('0' + n/10), byte('0' + n%10)}), true
}
