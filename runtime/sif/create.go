package sif

import (
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
	// What it wrote beyond that is cut off; what it left out is zero.
	Fill func(w io.WriterAt) (size int64, err error)
	// Written, if not nil, hears what the object became before the next one is
	// asked for its data: that may speak of this one.
	Written func(d Descriptor)
	// Aligned makes the object start at a multiple of 4096, as partitions do: what
	// is to be mounted is read faster there.
	Aligned bool
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

// Create writes a SIF file, its objects one after the other in their order. It
// appears under path complete, synced and with mode 0755, or not at all; a file
// already there is replaced. Who gives the data can end it with an error.
func Create(path string, o Options) error {
	if len(o.Objects) > maxDescriptors-spareSlots {
		return fmt.Errorf("create %s: %d objects are more than a SIF can hold", path, len(o.Objects))
	}
	return publish(path, func(f *os.File) error { return write(f, o) })
}

// Copy writes what r holds as Create does, if that is a SIF file.
func Copy(path string, r io.Reader) error {
	return publish(path, func(f *os.File) error {
		size, err := io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, copyBuffer))
		if err != nil {
			return err
		}
		_, err = Parse(f, size)
		return err
	})
}

const copyBuffer = 1 << 20

// publish lets fill write a file that appears under path when it is complete.
func publish(path string, fill func(f *os.File) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		} else {
			err = syncDir(filepath.Dir(path))
		}
	}()
	err = fill(tmp)
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
