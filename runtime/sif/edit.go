package sif

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// Files are edited in place, so that a change of 20 GB writes a few kilobytes and the file
// stays the one that hard links and containers know. Killed at any point, an edit leaves
// the file as it was or as it is to be, but for what is said of the functions below. Of
// two who want to edit a file at the same time, one is refused.

// ErrBusy says that somebody else is editing the file.
var ErrBusy = errors.New("it is being changed by somebody else; try again when that is done")

// ErrSigned says that an edit would break a signature.
var ErrSigned = errors.New("it is signed")

// Signatures are those that cover an object, itself or with its group.
func (f *File) Signatures(of Descriptor) []Descriptor {
	var found []Descriptor
	for _, d := range f.Descriptors {
		if d.Type == TypeSignature && (d.LinkIsGroup && of.Group != 0 && d.Link == of.Group || !d.LinkIsGroup && d.Link == of.ID && of.ID != 0) {
			found = append(found, d)
		}
	}
	return found
}

// unsigned makes sure that no signature covers an object.
func (e *edit) unsigned(d Descriptor, force bool) error {
	if signatures := e.Signatures(d); len(signatures) > 0 && !force {
		what := fmt.Sprintf("object %d", d.ID)
		if d.ID == 0 || signatures[0].LinkIsGroup {
			what = fmt.Sprintf("group %d", d.Group)
		}
		return fmt.Errorf("%s: %w (object %d is the signature), and would not verify any more", what, ErrSigned, signatures[0].ID)
	}
	return nil
}

// ErrNoObject says that there is no object with an ID.
var ErrNoObject = errors.New("no such object")

// edit is a file that is being changed.
type edit struct {
	*File

	f     *os.File
	head  rawHeader
	table []rawDescriptor
}

// change opens the file at path, checks it, and has it changed.
func change(path string, do func(e *edit) error) (err error) {
	info, err := os.Stat(path)
	if err == nil {
		err = regular(info) // opening a pipe would wait for a writer
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if ours, err := linux.TryLockBytes(f, headerSize); err != nil || !ours {
		return cmp.Or(err, ErrBusy)
	}
	if info, err = f.Stat(); err == nil {
		err = regular(info)
	}
	if err != nil {
		return err
	}
	e := &edit{f: f}
	if e.File, err = Parse(f, info.Size()); err != nil {
		return err
	}
	head := make([]byte, headerSize)
	if err := readAt(f, head, 0); err != nil {
		return err
	}
	if _, err := binary.Decode(head, binary.LittleEndian, &e.head); err != nil {
		return err
	}
	table := make([]byte, e.Header.slots*descriptorSize)
	if err := readAt(f, table, e.Header.tableOffset); err != nil {
		return err
	}
	e.table = make([]rawDescriptor, e.Header.slots)
	if _, err := binary.Decode(table, binary.LittleEndian, e.table); err != nil {
		return err
	}
	return do(e)
}

// now is the time of the change; a reproducible file stays one.
func (e *edit) now() int64 {
	if e.head.ID == [16]byte{} && time.Unix(e.head.Created, 0).IsZero() {
		return time.Time{}.Unix()
	}
	return time.Now().Unix()
}

func (e *edit) object(id uint32) (Descriptor, error) {
	i := slices.IndexFunc(e.Descriptors, func(d Descriptor) bool { return d.ID == id })
	if i < 0 {
		return Descriptor{}, fmt.Errorf("object %d: %w", id, ErrNoObject)
	}
	return e.Descriptors[i], nil
}

func (e *edit) writeHeader() error {
	var text bytes.Buffer
	if err := binary.Write(&text, binary.LittleEndian, e.head); err != nil {
		return err
	}
	_, err := e.f.WriteAt(text.Bytes(), 0)
	return err
}

func (e *edit) writeSlot(slot int) error {
	var text bytes.Buffer
	if err := binary.Write(&text, binary.LittleEndian, e.table[slot]); err != nil {
		return err
	}
	_, err := e.f.WriteAt(text.Bytes(), e.place(slot))
	return err
}

func (e *edit) place(slot int) int64 { return e.Header.tableOffset + int64(slot)*descriptorSize }

// use says in one byte, on disk when all before is, whether a slot counts.
func (e *edit) use(slot int, used byte) error {
	if err := e.f.Sync(); err != nil {
		return err
	}
	if _, err := e.f.WriteAt([]byte{used}, e.place(slot)+usedOffset); err != nil {
		return err
	}
	return e.f.Sync()
}

// Addition is an object to be added to a file.
type Addition struct {
	Object

	// Group is 0 for an object in no group. Link is the ID of an object, or 0.
	Group, Link uint32
	// Alignment is what the object's offset is a multiple of; zero is 4096 for a partition
	// and 1 for others.
	Alignment int64
	// Hash and Entity are a signature's, SBOM the format of a bill of materials.
	Hash   Hash
	Entity []byte
	SBOM   SBOMFormat
	// Force adds to a group that is signed, whose signature does not verify then.
	Force bool
}

// Add adds an object behind all that is in a file.
func Add(ctx context.Context, path string, a Addition) (added Descriptor, err error) {
	err = change(path, func(e *edit) error {
		slot, err := e.roomFor(a)
		if err != nil {
			return err
		}
		added, err = e.add(ctx, slot, a)
		if err != nil {
			// A full disk, most likely: nothing says yet that there is more.
			return errors.Join(err, e.f.Truncate(e.size))
		}
		return e.use(slot, 1)
	})
	return added, err
}

// roomFor finds a slot and what speaks against an addition.
func (e *edit) roomFor(a Addition) (slot int, err error) {
	slot = slices.IndexFunc(e.table, func(d rawDescriptor) bool { return d.Used == 0 })
	primary := a.Type == TypePartition && a.Part == PartPrimary
	switch {
	case slot < 0:
		return 0, fmt.Errorf("its table is full: %d objects", len(e.table))
	case a.Group&groupMask != 0:
		return 0, fmt.Errorf("group %d is too large a number", a.Group)
	case a.Alignment < 0 || a.Alignment > maxAlignment:
		return 0, fmt.Errorf("alignment %d is not between 0 and %d", a.Alignment, maxAlignment)
	case a.Type == TypePartition && (a.FS < FSSquash || a.FS > FSEncryptedSquash || a.Part < PartSystem || a.Part > PartOverlay):
		return 0, errors.New("a partition has a file system and a type")
	case len(a.Entity) > fingerprintSize:
		return 0, fmt.Errorf("the fingerprint of %d bytes is too long", len(a.Entity))
	}
	if _, err := e.object(a.Link); a.Link != 0 && err != nil {
		return 0, fmt.Errorf("link: %w", err)
	}
	if err := e.unsigned(Descriptor{Group: a.Group}, a.Force); err != nil {
		return 0, err
	}
	for _, d := range e.Descriptors {
		switch {
		case primary && d.Type == TypePartition && d.Part == PartPrimary:
			return 0, fmt.Errorf("object %d is its primary partition already", d.ID)
		case a.Type == TypeOCIIndex && d.Type == TypeOCIIndex:
			return 0, fmt.Errorf("object %d is its OCI root index already", d.ID)
		case primary && d.Type == TypeOCIIndex || a.Type == TypeOCIIndex && d.Type == TypePartition && d.Part == PartPrimary:
			return 0, errors.New("it can't be an image of Singularity's and of OCI's at the same time")
		}
	}
	return slot, nil
}

const maxAlignment = 1 << 30

// add writes everything but that the slot is used.
func (e *edit) add(ctx context.Context, slot int, a Addition) (Descriptor, error) {
	if a.Alignment == 0 {
		a.Alignment = 1
	}
	if a.Data != nil {
		a.Data = &stoppable{ctx, a.Data}
	}
	from := (e.size + a.Alignment - 1) / a.Alignment * a.Alignment
	d, err := writeObject(e.f, from, a.Object)
	if err != nil {
		return Descriptor{}, err
	}
	d.Padded, d.Used, d.ID = d.Size+d.Offset-e.size, 0, e.freeID(slot)
	d.Group, d.Link = groupMask|a.Group, a.Link
	d.Created = e.now()
	d.Modified = d.Created
	switch a.Type {
	case TypeSignature:
		binary.LittleEndian.PutUint32(d.Extra[:], uint32(a.Hash))
		copy(d.Extra[4:], a.Entity)
	case TypeSBOM:
		binary.LittleEndian.PutUint32(d.Extra[:], uint32(a.SBOM))
	default:
	}
	e.table[slot] = d
	e.head.Modified = d.Created
	e.head.SlotsFree = e.Header.slots - int64(len(e.Descriptors)) - 1
	e.head.DataLen = d.Offset + d.Size - e.head.DataOffset
	if a.Type == TypePartition && a.Part == PartPrimary {
		copy(e.head.Arch[:], d.Extra[8:11])
	}
	described, err := d.descriptor(slot)
	if err != nil {
		return described, err
	}
	if d.Size == 0 && d.Offset > e.size {
		err = e.f.Truncate(d.Offset) // readers want it in the file
	}
	return described, errors.Join(err, e.f.Sync(), e.writeSlot(slot), e.writeHeader())
}

// freeID is the ID that others would give to an object in the slot, unless it is taken.
func (e *edit) freeID(slot int) uint32 {
	id, last, taken := uint32(slot)+1, uint32(0), false
	for _, d := range e.Descriptors {
		taken = taken || d.ID == id
		last = max(last, d.ID)
	}
	if taken {
		return last + 1
	}
	return id
}

// stoppable ends with its context.
type stoppable struct {
	ctx context.Context //nolint:containedctx // it lives as long as the call
	r   io.Reader
}

func (s *stoppable) Read(b []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}
