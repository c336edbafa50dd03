package unpack

import (
	"context"
	"errors"
	"os"

	"github.com/siflet/siflet/runtime/unsquash"
)

// content is that of a file, to be written.
type content struct {
	info *unsquash.Info
	file *os.File
	path string
}

// write is one of those who write the contents of files.
func (t *tree) write() {
	buf := make([]byte, t.r.BlockSize())
	for c := range t.work {
		err := context.Cause(t.ctx)
		if err == nil {
			err = t.fill(c, buf)
		}
		if err = errors.Join(err, c.file.Close()); err != nil {
			t.cancel(within(c.path, err)) // the first counts
		}
	}
}

func (t *tree) fill(c content, buf []byte) error {
	wrote := func(n int) error {
		if t.o.Wrote != nil {
			t.o.Wrote(int64(n))
		}
		return context.Cause(t.ctx)
	}
	end := int64(0)
	err := t.r.Content(c.info, buf, func(data []byte, offset int64) error {
		if _, err := c.file.WriteAt(data, offset); err != nil {
			return err
		}
		end = offset + int64(len(data))
		return wrote(len(data))
	})
	if err == nil && end < c.info.Size() {
		err = c.file.Truncate(c.info.Size())
	}
	if err != nil {
		return err
	}
	return t.describe(c.info, c.file)
}
