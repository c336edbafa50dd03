// Package record keeps small JSON files that are always whole.
//
// A reader sees the old record or the new one, never half of either, whatever
// happens to the writer. A file holds one record, or the versions of one, a line
// each, of which the last whole line counts. The package knows nothing of what records mean, does
// not lock (every file has one writer), and writes only the path it is given
// and a temporary file beside it that starts with a dot.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/linux"
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
	text, err := encode(v)
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	return replace(path, text, true)
}

// encode makes a line of v.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(text) >= MaxSize {
		return nil, fmt.Errorf("%d bytes, more than %d", len(text), MaxSize)
	}
	return append(text, '\n'), nil
}

// maxVersions is the size from which a file of versions is begun anew.
const maxVersions = 256 << 10

// WriteVolatile is Write without waiting for the disk: readers see the old
// record or the new one, but a power cut may leave neither. It is for what
// matters within one boot. A new version is added to those in the file, which
// costs a fraction of making a file and replacing another by it.
func WriteVolatile(path string, v any) error {
	text, err := encode(v)
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	added, err := addVersion(path, text)
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	if added {
		return nil
	}
	return replace(path, text, false)
}

// addVersion adds a line to a file of versions, whole or not at all. It adds
// nothing where there is no such file or too much in it.
func addVersion(path string, text []byte) (added bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|linux.ONofollow, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, linux.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() || size == 0 || size+int64(len(text)) > maxVersions {
		return false, nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return false, err
	}
	if last[0] != '\n' {
		// A writer died here: the file is begun anew.
		return false, nil
	}
	if _, err := f.Write(text); err != nil {
		return false, errors.Join(err, f.Truncate(size))
	}
	return true, nil
}

// isLink tells a record that is a link from one that can't be reached for links on the way.
func isLink(path string) bool {
	i, err := os.Lstat(path)
	return err == nil && i.Mode()&fs.ModeSymlink != 0
}

// Read reads the record at path into v. A missing file is fs.ErrNotExist, one
// that is no record ErrCorrupt; both name the path. Fields v does not have are
// ignored, so that an older program reads what a newer one wrote.
func Read(path string, v any) error {
	// A pipe would be waited for, and a link may lead to a file of somebody else's.
	f, err := os.OpenFile(path, os.O_RDONLY|linux.ONonblock|linux.ONofollow, 0)
	switch {
	case errors.Is(err, linux.ELOOP) && isLink(path), errors.Is(err, linux.ENXIO):
		return fmt.Errorf("read record %s: %w: not a regular file", path, ErrCorrupt)
	case err != nil:
		return fmt.Errorf("read record: %w", err)
	}
	text, err := readAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read record %s: %w", path, err)
	}
	if err := json.Unmarshal(lastVersion(text), v); err != nil {
		return fmt.Errorf("read record %s: %w: %w", path, ErrCorrupt, err)
	}
	return nil
}

// lastVersion is the last line that was written to its end. A text without one
// is a record as it is.
func lastVersion(text []byte) []byte {
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		return text
	}
	lines := bytes.TrimRight(text[:end], "\n")
	return lines[bytes.LastIndexByte(lines, '\n')+1:]
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

func replace(path string, text []byte, durable bool) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+base+".*.tmp")
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	_, err = f.Write(text)
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
