// Package record keeps small JSON files that are always whole.
//
// A reader sees the old record or the new one, never half of either, whatever
// happens to the writer. The package knows nothing of what records mean, does
// not lock (every file has one writer), and writes only the path it is given
// and a temporary file beside it that starts with a dot.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// MaxSize is the most a record may hold, in bytes.
const MaxSize = 8 << 20

// ErrCorrupt is the kind of error of a file that holds no record.
var ErrCorrupt = errors.New("record is corrupt")

// Write replaces the record at path with v. When it returns nil the record
// survives a power cut; when it returns an error readers see the old record, or
// the new one if only syncing the directory failed. The file is readable by its
// owner alone.
func Write(path string, v any) error {
	return write(path, v, true)
}

// WriteVolatile is Write without waiting for the disk: readers see the old
// record or the new one, but a power cut may leave neither. It is for what
// matters within one boot.
func WriteVolatile(path string, v any) error {
	return write(path, v, false)
}

// Read reads the record at path into v. A missing file is fs.ErrNotExist, one
// that is no record ErrCorrupt; both name the path. Fields v does not have are
// ignored, so that an older program reads what a newer one wrote.
func Read(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	text, err := readAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read record %s: %w", path, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read record %s: %w: %w", path, ErrCorrupt, err)
	}
	return nil
}

func readAll(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: not a regular file", ErrCorrupt)
	case info.Size() > MaxSize:
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrCorrupt, info.Size(), MaxSize)
	case info.Size() == 0:
		return nil, fmt.Errorf("%w: empty file", ErrCorrupt)
	}
	return io.ReadAll(io.LimitReader(f, MaxSize))
}

func write(path string, v any, durable bool) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	if len(text) >= MaxSize {
		return fmt.Errorf("write record %s: %d bytes, more than %d", path, len(text), MaxSize)
	}
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".*.tmp")
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if durable {
		// The new record is in place; only its name may not be on disk yet.
		if err := SyncDir(dir); err != nil {
			return fmt.Errorf("write record %s: sync directory: %w", path, err)
		}
	}
	return nil
}

// SyncDir makes the names in a directory survive a power cut.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
