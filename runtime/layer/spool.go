package layer

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// spool keeps files whose names are hidden, in case a hard link shows them. Its own
// file is made when it is needed, and has no name.
type spool struct {
	dir  string
	file *os.File
	size int64
}

// keep takes exactly size bytes.
func (s *spool) keep(data io.Reader, size int64) (offset int64, err error) {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, ".layer-*")
		if err != nil {
			return 0, fmt.Errorf("spool: %w", err)
		}
		if err := os.Remove(f.Name()); err != nil {
			return 0, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
		}
		s.file = f
	}
	offset = s.size
	n, err := io.Copy(io.NewOffsetWriter(s.file, offset), data)
	s.size += n
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	return offset, nil
}

func (s *spool) read(offset, size int64) io.Reader { return io.NewSectionReader(s.file, offset, size) }

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
