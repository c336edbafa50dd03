package sif

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// Layout is where a file has its descriptors and data, as its header says.
type Layout struct {
	// Free of Slots descriptors are not used; the table of them is TableSize bytes at
	// TableOffset.
	Free, Slots            int64
	TableOffset, TableSize int64
	DataOffset, DataSize   int64
}

// Layout is the file's.
func (f *File) Layout() Layout {
	h := f.Header
	return Layout{h.slotsFree, h.slots, h.tableOffset, h.tableLen, h.dataOffset, h.dataLen}
}

// Hash is the hash that a signature is made with.
type Hash int32

// String is the hash's name.
func (h Hash) String() string {
	return nameOf(int(h), "SHA-256", "SHA-384", "SHA-512", "BLAKE2s-256", "BLAKE2b-256")
}

// SBOMFormat is how a software bill of materials is written.
type SBOMFormat int32

// SBOMFormats are the names of all formats, in the order of their numbers, from one on.
func SBOMFormats() []string {
	return []string{
		"cyclonedx-json", "cyclonedx-xml", "github-json", "spdx-json", "spdx-rdf", "spdx-tag-value", "spdx-yaml", "syft-json",
	}
}

// String is the format's name.
func (s SBOMFormat) String() string { return nameOf(int(s), SBOMFormats()...) }

// nameOf is the name of a number that counts from one.
func nameOf(n int, names ...string) string {
	if n < 1 || n > len(names) {
		return "Unknown"
	}
	return names[n-1]
}

// Details is what a descriptor says beyond what is needed to run what it describes.
type Details struct {
	Created time.Time
	// Hash and Entity, the fingerprint of a key, are a signature's. Entity is empty if it is not said.
	Hash   Hash
	Entity []byte
	// Format and Message are of a cryptographic message.
	Format, Message string
	SBOM            SBOMFormat
}

// Details reads the descriptor of an object again.
func (f *File) Details(d Descriptor) (Details, error) {
	text := make([]byte, descriptorSize)
	if err := readAt(f.r, text, f.Header.tableOffset+int64(d.Slot)*descriptorSize); err != nil {
		return Details{}, fmt.Errorf("sif: descriptor %d: %w", d.Slot, err)
	}
	var raw rawDescriptor
	if _, err := binary.Decode(text, binary.LittleEndian, &raw); err != nil {
		return Details{}, fmt.Errorf("sif: descriptor %d: %w", d.Slot, err)
	}
	le := binary.LittleEndian
	out := Details{Created: time.Unix(raw.Created, 0)}
	first, second := int32(le.Uint32(raw.Extra[:])), int32(le.Uint32(raw.Extra[4:]))
	switch d.Type {
	case TypeSignature:
		out.Hash = Hash(first)
		if entity := raw.Extra[4:][:fingerprintSize]; !bytes.Equal(entity, make([]byte, fingerprintSize)) {
			out.Entity = bytes.Clone(entity)
		}
	case TypeCrypto:
		out.Format = nameOf(int(first), "OpenPGP", "PEM")
		out.Message = map[int32]string{0x100: "Clear Signature", 0x200: "RSA-OAEP"}[second]
		if out.Message == "" {
			out.Message = "Unknown"
		}
	case TypeSBOM:
		out.SBOM = SBOMFormat(first)
	default:
	}
	return out, nil
}

// fingerprintSize is that of a PGP key.
const fingerprintSize = 20
