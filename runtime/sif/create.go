package sif

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Object is one object to be written.
type Object struct {
	Type DataType
	Name string
	// FS, Part and Arch (a GOARCH name) describe a partition.
	FS   FSType
	Part PartType
	Arch string
	// Data is read to its end.
	Data io.Reader
	// Fill writes the data instead, from offset zero on, and returns its size.
	Fill func(w io.WriterAt) (size int64, err error)
}

// Options says what goes into a new SIF file, in order.
type Options struct {
	Objects []Object
	// Deterministic leaves the UUID and the times empty, so that the same
	// objects give the same bytes.
	Deterministic bool
	// Time is the creation time; the zero value means now.
	Time time.Time
}

// Create writes a SIF file. It appears under path complete, synced and with
// mode 0755, or not at all; a file already there is replaced.
func Create(path string, o Options) (err error) {
	if len(o.Objects) > maxDescriptors-spareSlots {
		return fmt.Errorf("create %s: %d objects are more than a SIF can hold", path, len(o.Objects))
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	err = write(tmp, o)
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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
		d.Offset = (end + partitionAlign - 1) / partitionAlign * partitionAlign
	}
	n, err := fillIn(f, d.Offset, obj)
	if err != nil {
		return d, err
	}
	if obj.Type == TypeOCIBlob || obj.Type == TypeOCIIndex {
		// What was filled in anywhere can only be hashed when it is complete.
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, d.Offset, n)); err != nil {
			return d, err
		}
		copy(d.Extra[:], "sha256:"+hex.EncodeToString(sum.Sum(nil)))
	}
	d.Size, d.Padded = n, n+d.Offset-end
	return d, nil
}

func fillIn(f *os.File, offset int64, obj Object) (int64, error) {
	w := io.NewOffsetWriter(f, offset)
	if obj.Fill != nil {
		return obj.Fill(w)
	}
	return io.Copy(w, obj.Data)
}
