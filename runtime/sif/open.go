package sif

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// File is a SIF file whose header and descriptors have been checked. It is safe
// for concurrent use until it is closed.
type File struct {
	Header      Header
	Descriptors []Descriptor

	r      io.ReaderAt
	size   int64
	closer io.Closer
}

// Open opens the file at path read-only and checks its structure. A file that
// is something else is ErrNotSIF, one that contradicts itself ErrCorrupt.
func Open(path string) (*File, error) {
	// Opening a pipe would wait for a writer, so look first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(info)
	}
	var file *File
	if err == nil {
		file, err = Parse(f, info.Size())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
	}
	file.closer = f
	return file, nil
}

func regular(info os.FileInfo) error {
	if info.IsDir() {
		return &FormatError{Kind: ErrNotSIF, Reason: "a directory, not a SIF file"}
	}
	if !info.Mode().IsRegular() {
		return &FormatError{Kind: ErrNotSIF, Reason: "not a regular file"}
	}
	return nil
}

// Close closes the file if Open opened it.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Parse checks the structure of a SIF file of size bytes. It reads the header
// and the descriptor table only.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	if err := f.readHeader(); err != nil {
		return nil, err
	}
	if err := f.readDescriptors(); err != nil {
		return nil, err
	}
	if err := f.checkOverlaps(); err != nil {
		return nil, err
	}
	return f, f.checkUnique()
}

func (f *File) readHeader() error {
	if f.size < headerSize {
		return &FormatError{
			Kind: ErrNotSIF, Part: "header",
			Reason: fmt.Sprintf("the file has %d bytes, a SIF header %d", f.size, headerSize),
		}
	}
	buf := make([]byte, headerSize)
	if err := readAt(f.r, buf, 0); err != nil {
		return fmt.Errorf("sif: header: %w", err)
	}
	var raw rawHeader
	if err := binary.Read(bytes.NewReader(buf), binary.LittleEndian, &raw); err != nil {
		return fmt.Errorf("sif: header: %w", err)
	}
	if !bytes.Equal(raw.Magic[:], []byte(magic+"\x00")) {
		return &FormatError{
			Kind: ErrNotSIF, Part: "header", Reason: fmt.Sprintf("magic is %q, not %q", raw.Magic[:], magic+"\x00"),
		}
	}
	if v := cString(raw.Version[:]); v != version {
		return unsupported("header", "version is %q, only %q is known", v, version)
	}
	f.Header = Header{
		Launch: strings.TrimSuffix(string(bytes.TrimRight(raw.Launch[:], "\x00")), "\n"), Version: version,
		Arch: readArch(raw.Arch[:]), ID: raw.ID,
		Created: time.Unix(raw.Created, 0), Modified: time.Unix(raw.Modified, 0),
		slotsFree: raw.SlotsFree, slots: raw.Slots, tableOffset: raw.TableOffset, tableLen: raw.TableLn,
		dataOffset: raw.DataOffset, dataLen: raw.DataLen,
	}
	return f.checkHeader()
}

func (f *File) checkHeader() error {
	h := f.Header
	switch {
	case h.slots < 0:
		return corrupt("header", "descriptor count %d is negative", h.slots)
	case h.slots > maxDescriptors:
		return corrupt("header", "descriptor count %d is more than %d", h.slots, maxDescriptors)
	case h.slotsFree < 0 || h.slotsFree > h.slots:
		return corrupt("header", "free descriptor count %d is not between 0 and %d", h.slotsFree, h.slots)
	case h.tableLen < h.slots*descriptorSize:
		return corrupt("header", "descriptor table size %d is too small for %d descriptors", h.tableLen, h.slots)
	case h.dataLen < 0:
		return corrupt("header", "data size %d is negative", h.dataLen)
	}
	if err := f.checkRange("header", "descriptor table offset", "descriptor table", h.tableOffset, h.tableLen); err != nil {
		return err
	}
	if h.tableOffset < headerSize {
		return corrupt("header", "descriptor table offset %d is inside the header", h.tableOffset)
	}
	if h.dataOffset < 0 || h.dataOffset > f.size {
		return corrupt("header", "data offset %d is not inside the file (%d bytes)", h.dataOffset, f.size)
	}
	return nil
}

// checkRange checks that size bytes at offset lie in the file, without overflow.
func (f *File) checkRange(part, offsetName, what string, offset, size int64) error {
	switch {
	case offset < 0:
		return corrupt(part, "%s %d is negative", offsetName, offset)
	case size < 0:
		return corrupt(part, "size %d is negative", size)
	case offset > f.size:
		return corrupt(part, "%s %d is past the end of the file (%d bytes)", offsetName, offset, f.size)
	case size > f.size-offset:
		return corrupt(part, "%s of %d bytes at offset %d runs past the end of the file (%d bytes)",
			what, size, offset, f.size)
	}
	return nil
}

func (f *File) readDescriptors() error {
	table := make([]byte, f.Header.slots*descriptorSize)
	if err := readAt(f.r, table, f.Header.tableOffset); err != nil {
		return fmt.Errorf("sif: descriptor table: %w", err)
	}
	for slot := range int(f.Header.slots) {
		part := fmt.Sprintf("descriptor %d", slot)
		text := table[slot*descriptorSize:][:descriptorSize]
		// Decoding is slow, and most slots are empty.
		switch used := text[usedOffset]; used {
		case 0:
			continue
		case 1:
		default:
			return corrupt(part, "used flag is %d, not 0 or 1", used)
		}
		var raw rawDescriptor
		if _, err := binary.Decode(text, binary.LittleEndian, &raw); err != nil {
			return fmt.Errorf("sif: %s: %w", part, err)
		}
		if raw.ID == 0 || raw.ID&groupMask != 0 {
			return corrupt(part, "id %d is not an object's", raw.ID)
		}
		if raw.Padded < 0 {
			return corrupt(part, "padded size %d is negative", raw.Padded)
		}
		if err := f.checkRange(part, "offset", "object", raw.Offset, raw.Size); err != nil {
			return err
		}
		d, err := raw.descriptor(slot)
		if err != nil {
			return err
		}
		f.Descriptors = append(f.Descriptors, d)
	}
	return nil
}

func (raw *rawDescriptor) descriptor(slot int) (Descriptor, error) {
	d := Descriptor{
		Slot: slot, ID: raw.ID, Type: DataType(raw.Type),
		Group: raw.Group &^ groupMask, Link: raw.Link &^ groupMask, LinkIsGroup: raw.Link&groupMask != 0,
		Offset: raw.Offset, Size: raw.Size, Modified: time.Unix(raw.Modified, 0), Name: cString(raw.Name[:]),
	}
	part := fmt.Sprintf("descriptor %d", slot)
	switch d.Type {
	case TypePartition:
		var p rawPartition
		if _, err := binary.Decode(raw.Extra[:], binary.LittleEndian, &p); err != nil {
			return d, fmt.Errorf("sif: %s: %w", part, err)
		}
		d.FS, d.Part, d.Arch = FSType(p.FS), PartType(p.Part), readArch(p.Arch[:])
		if d.FS < FSSquash || d.FS > FSEncryptedSquash {
			return d, corrupt(part, "file system type %d is unknown", p.FS)
		}
		if d.Part < PartSystem || d.Part > PartOverlay {
			return d, corrupt(part, "partition type %d is unknown", p.Part)
		}
	case TypeOCIBlob, TypeOCIIndex:
		d.Digest = cString(raw.Extra[:])
		if d.Digest != "" && !isDigest(d.Digest) {
			return d, corrupt(part, "digest %q is not sha256:<64 hex digits>", d.Digest)
		}
	default:
	}
	return d, nil
}

// checkOverlaps makes sure that no byte belongs to two things.
func (f *File) checkOverlaps() error {
	type span struct {
		name     string
		from, to int64
	}
	h := f.Header
	spans := []span{{"header", 0, headerSize}, {"descriptor table", h.tableOffset, h.tableOffset + h.slots*descriptorSize}}
	for _, d := range f.Descriptors {
		spans = append(spans, span{fmt.Sprintf("descriptor %d", d.Slot), d.Offset, d.Offset + d.Size})
	}
	spans = slices.DeleteFunc(spans, func(s span) bool { return s.from == s.to })
	slices.SortStableFunc(spans, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if b.from < a.to {
			if strings.HasPrefix(a.name, "descriptor ") && !strings.HasPrefix(b.name, "descriptor ") {
				a, b = b, a
			}
			return corrupt(b.name, "object at offset %d (%d bytes) overlaps the %s (bytes %d to %d)",
				b.from, b.to-b.from, a.name, a.from, a.to)
		}
	}
	return nil
}

// checkUnique makes sure that there is one object of each ID, one primary
// partition and one OCI root index.
func (f *File) checkUnique() error {
	ids := map[uint32]int{}
	primary, index := -1, -1
	for _, d := range f.Descriptors {
		part := fmt.Sprintf("descriptor %d", d.Slot)
		if other, ok := ids[d.ID]; ok {
			return corrupt(part, "id %d is also descriptor %d's", d.ID, other)
		}
		ids[d.ID] = d.Slot
		if d.Type == TypePartition && d.Part == PartPrimary {
			if primary >= 0 {
				return corrupt(part, "partition type: a second primary partition, descriptor %d is one", primary)
			}
			primary = d.Slot
		}
		if d.Type == TypeOCIIndex {
			if index >= 0 {
				return corrupt(part, "data type: a second OCI root index, descriptor %d is one", index)
			}
			index = d.Slot
		}
	}
	if primary >= 0 && index >= 0 {
		return corrupt(fmt.Sprintf("descriptor %d", index), "data type: an OCI root index beside primary partition %d", primary)
	}
	return nil
}

// readAt fills buf. The caller has checked that the file is long enough, so an
// end of file means that somebody shortened it.
func readAt(r io.ReaderAt, buf []byte, offset int64) error {
	if n, err := r.ReadAt(buf, offset); n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

func readArch(code []byte) string {
	text := cString(code)
	if name, ok := archName(text); ok {
		return name
	}
	return fmt.Sprintf("code %q", text)
}

// HeadDigest is the SHA-256 of the header and the descriptor table: what the
// file says it holds, without reading what it holds.
func (f *File) HeadDigest() ([sha256.Size]byte, error) {
	sum := sha256.New()
	for _, part := range []*io.SectionReader{
		io.NewSectionReader(f.r, 0, headerSize),
		io.NewSectionReader(f.r, f.Header.tableOffset, f.Header.slots*descriptorSize),
	} {
		if n, err := io.Copy(sum, part); err != nil || n < part.Size() {
			return [sha256.Size]byte{}, fmt.Errorf("sif: header: %w", cmp.Or(err, io.ErrUnexpectedEOF))
		}
	}
	return [sha256.Size]byte(sum.Sum(nil)), nil
}
