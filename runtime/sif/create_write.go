package sif

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"
)

// rawHeader and rawDescriptor are the layout in the file, little-endian.
type rawHeader struct {
	Launch               [32]byte
	Magic                [10]byte
	Version, Arch        [3]byte
	ID                   [16]byte
	Created, Modified    int64
	SlotsFree, Slots     int64
	TableOffset, TableLn int64
	DataOffset, DataLen  int64
}

type rawDescriptor struct {
	Type              int32
	Used              uint8
	ID, Group, Link   uint32
	Offset, Size      int64
	Padded            int64
	Created, Modified int64
	UID, GID          int64
	Name              [128]byte
	Extra             [384]byte
}

type rawPartition struct {
	FS, Part int32
	Arch     [3]byte
}

func write(f *os.File, o Options) error {
	slots := max(tableSlots, len(o.Objects)+spareSlots)
	stamp := o.Time
	if stamp.IsZero() && !o.Deterministic {
		stamp = time.Now()
	}
	h := rawHeader{
		Created: stamp.Unix(), Modified: stamp.Unix(),
		SlotsFree: int64(slots - len(o.Objects)), Slots: int64(slots),
		TableOffset: tableOffset, TableLn: int64(slots) * descriptorSize,
		DataOffset: tableOffset + int64(slots)*descriptorSize,
	}
	copy(h.Magic[:], magic)
	copy(h.Version[:], version)
	copy(h.Arch[:], "00")
	if !o.Deterministic {
		if _, err := rand.Read(h.ID[:]); err != nil {
			return err
		}
		h.ID[6] = h.ID[6]&0x0f | 0x40
		h.ID[8] = h.ID[8]&0x3f | 0x80
	}
	table := make([]rawDescriptor, slots)
	end := h.DataOffset
	for i, obj := range o.Objects {
		d, err := writeObject(f, end, obj)
		if err != nil {
			return fmt.Errorf("object %d (%s): %w", i, obj.Type, err)
		}
		d.ID, d.Created, d.Modified = uint32(i+1), stamp.Unix(), stamp.Unix()
		if obj.Type == TypePartition && obj.Part == PartPrimary {
			copy(h.Arch[:], d.Extra[8:11])
			copy(h.Launch[:], launchScript)
		}
		table[i], end = d, d.Offset+d.Size
		if obj.Written != nil {
			digest, _, _ := strings.Cut(string(d.Extra[:]), "\x00")
			if obj.Type != TypeOCIBlob && obj.Type != TypeOCIIndex {
				digest = ""
			}
			obj.Written(Descriptor{
				Slot: i, ID: d.ID, Type: obj.Type, Group: 1, Offset: d.Offset, Size: d.Size, Modified: stamp, Name: obj.Name,
				FS: obj.FS, Part: obj.Part, Arch: obj.Arch, Digest: digest,
			})
		}
	}
	h.DataLen = end - h.DataOffset
	var head, slotsBuf bytes.Buffer
	if err := errors.Join(binary.Write(&head, binary.LittleEndian, h),
		binary.Write(&slotsBuf, binary.LittleEndian, table)); err != nil {
		return err
	}
	if _, err := f.WriteAt(head.Bytes(), 0); err != nil {
		return err
	}
	_, err := f.WriteAt(slotsBuf.Bytes(), tableOffset)
	return err
}

// writeObject writes the object's data at or after end.
func writeObject(f *os.File, end int64, obj Object) (rawDescriptor, error) {
	d := rawDescriptor{Type: int32(obj.Type), Used: 1, Group: groupMask | 1, Offset: end}
	if len(obj.Name) >= len(d.Name) {
		return d, fmt.Errorf("name of %d bytes is too long", len(obj.Name))
	}
	copy(d.Name[:], obj.Name)
	if (obj.Data == nil) == (obj.Fill == nil) {
		return d, errors.New("want either data or somebody who fills it in")
	}
	if obj.Type == TypePartition {
		code, ok := archCode(obj.Arch)
		if !ok {
			return d, fmt.Errorf("architecture %q has no SIF code", obj.Arch)
		}
		p := rawPartition{FS: int32(obj.FS), Part: int32(obj.Part)}
		copy(p.Arch[:], code)
		if _, err := binary.Encode(d.Extra[:], binary.LittleEndian, p); err != nil {
			return d, err
		}
	}
	if obj.Type == TypePartition || obj.Aligned {
		d.Offset = (end + partitionAlign - 1) / partitionAlign * partitionAlign
	}
	w := &objectWriter{f: f, offset: d.Offset}
	if obj.digested() {
		w.sum = sha256.New()
	}
	n, err := w.fill(obj)
	if err != nil {
		return d, err
	}
	if obj.digested() {
		digest, err := w.digest(n)
		if err != nil {
			return d, err
		}
		copy(d.Extra[:], digest)
	}
	d.Size, d.Padded = n, n+d.Offset-end
	return d, nil
}

// digested says whether the object's descriptor has a digest.
func (o *Object) digested() bool { return o.Type == TypeOCIBlob || o.Type == TypeOCIIndex }

// objectWriter writes the data of one object and hashes it on the way for as
// long as it comes in order.
type objectWriter struct {
	f      *os.File
	offset int64

	mu  sync.Mutex
	sum hash.Hash // nil if nobody wants it or it can't be had so
	// hashed is how far the hash is, end how far anything was written.
	hashed, end int64
}

// WriteAt may be called by several at the same time.
func (w *objectWriter) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > math.MaxInt64-w.offset-int64(len(p)) {
		return 0, fmt.Errorf("write at %d: %w", off, os.ErrInvalid)
	}
	n, err := w.f.WriteAt(p, w.offset+off)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = max(w.end, off+int64(n))
	if w.sum == nil {
		return n, err
	}
	if off != w.hashed {
		w.sum = nil
		return n, err
	}
	_, _ = w.sum.Write(p[:n])
	w.hashed += int64(n)
	return n, err
}

// fill writes the object's data and returns its size.
func (w *objectWriter) fill(obj Object) (int64, error) {
	if obj.Data != nil {
		return io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(w, 0)}, obj.Data, make([]byte, copyBuffer))
	}
	n, err := obj.Fill(w)
	switch {
	case err != nil:
		return 0, err
	case n < 0 || n > math.MaxInt64-w.offset:
		return 0, fmt.Errorf("filled in with %d bytes", n)
	case n != w.end:
		err = w.f.Truncate(w.offset + n)
	}
	return n, err
}

// digest is that of the first n bytes.
func (w *objectWriter) digest(n int64) (string, error) {
	if w.sum == nil || w.hashed != n {
		// What was filled in anywhere can only be hashed when it is complete.
		w.sum = sha256.New()
		if _, err := io.CopyBuffer(struct{ io.Writer }{w.sum}, io.NewSectionReader(w.f, w.offset, n), make([]byte, copyBuffer)); err != nil {
			return "", err
		}
	}
	return "sha256:" + hex.EncodeToString(w.sum.Sum(nil)), nil
}
