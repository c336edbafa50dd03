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

// notSIF says nothing of what is there instead: it may be a file that is not for the eyes
// of whoever named it.
func notSIF() error { return &FormatError{Kind: ErrNotSIF, Reason: ErrNotSIF.Error()} }

func (f *File) readHeader() error {
	if f.size < headerSize {
		return notSIF()
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
		return notSIF()
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
