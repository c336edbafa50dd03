package sif

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// DeleteOptions say how an object is deleted.
type DeleteOptions struct {
	// Compact cuts off what is behind all other objects. Nobody may use that then.
	Compact bool
	// Force deletes what is signed, whose signature does not verify then.
	Force bool
}

// Delete takes an object out of a file. Its data stays there, where nobody looks for it.
func Delete(path string, id uint32, o DeleteOptions) (deleted Descriptor, err error) {
	err = change(path, func(e *edit) error {
		if deleted, err = e.object(id); err != nil {
			return err
		}
		if err := e.unsigned(deleted, o.Force); err != nil {
			return err
		}
		slot := deleted.Slot
		if err := e.use(slot, 0); err != nil {
			return err
		}
		e.table[slot] = rawDescriptor{}
		e.head.Modified = e.now()
		e.head.SlotsFree = e.Header.slots - int64(len(e.Descriptors)) + 1
		if deleted.Type == TypePartition && deleted.Part == PartPrimary {
			copy(e.head.Arch[:], "00\x00")
		}
		end := max(e.Header.dataOffset, e.Header.tableOffset+e.Header.tableLen)
		for _, d := range e.Descriptors {
			if d.ID != id {
				end = max(end, d.Offset+d.Size)
			}
		}
		if o.Compact {
			e.head.DataLen = end - e.head.DataOffset
		}
		if err := errors.Join(e.writeSlot(slot), e.writeHeader(), e.f.Sync()); err != nil || !o.Compact || end >= e.size {
			return err
		}
		return errors.Join(e.f.Truncate(end), e.f.Sync())
	})
	return deleted, err
}

// SetPrimary makes a system partition the primary one, and an ordinary one of that which it
// was. Killed in the middle it leaves a file without a primary partition, which
// SetPrimary makes whole. With force it does so to what is signed, whose signature does not
// verify then.
func SetPrimary(path string, id uint32, force bool) error {
	return change(path, func(e *edit) error {
		d, err := e.object(id)
		switch {
		case err != nil:
			return err
		case d.Type != TypePartition || d.Part != PartSystem && d.Part != PartPrimary:
			return fmt.Errorf("object %d is no system partition", id)
		case e.IsOCI():
			return errors.New("an image of OCI's has no primary partition")
		case d.Part == PartPrimary:
			return nil
		}
		if err := e.unsigned(d, force); err != nil {
			return err
		}
		for _, old := range e.Descriptors {
			if old.Type == TypePartition && old.Part == PartPrimary && old.ID != id {
				if err := e.unsigned(old, force); err != nil {
					return err
				}
				if err := e.setPart(old.Slot, PartSystem); err != nil {
					return err
				}
			}
		}
		if err := e.setPart(d.Slot, PartPrimary); err != nil {
			return err
		}
		copy(e.head.Arch[:], e.table[d.Slot].Extra[8:11])
		e.head.Modified = e.now()
		return errors.Join(e.writeHeader(), e.f.Sync())
	})
}

func (e *edit) setPart(slot int, to PartType) error {
	binary.LittleEndian.PutUint32(e.table[slot].Extra[4:], uint32(to))
	e.table[slot].Modified = e.now()
	return errors.Join(e.writeSlot(slot), e.f.Sync())
}
