package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
)

// readRecord reads what is the record of id, or says that it is none. Who has no room to
// read it must not take it for corrupt.
func readRecord(path string, v any, isFor func() bool) error {
	err := record.Read(path, v)
	if err == nil && !isFor() {
		err = fmt.Errorf("read record %s: %w: it is that of something else", path, record.ErrCorrupt)
	}
	return err
}

// unread says that a record that is there was not read for want of something that the
// machine lacks now.
func unread(err error) bool {
	return errors.Is(err, linux.EMFILE) || errors.Is(err, linux.ENFILE) || errors.Is(err, linux.ENOMEM)
}

// corruptDir is where records are kept that can't be read, for whoever wants to know why.
func (c Config) corruptDir() string { return filepath.Join(c.StateDir, "corrupt") }

// setAside keeps a record that can't be read out of the way of what is done about that.
func (e *Engine) setAside(path, name string, cause error) {
	dir := e.cfg.corruptDir()
	to := filepath.Join(dir, name)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(path, to)
	}
	if err != nil {
		e.cfg.Log.Error("a record is corrupt; what it was about is taken away", "error", errors.Join(cause, err))
		return
	}
	e.cfg.Log.Error("a record is corrupt; what it was about is taken away, and the record kept", "error", cause, "kept", to)
}

// tellCorrupt says what a reader, which changes nothing, does not show.
func tellCorrupt(log *slog.Logger, i *instance) {
	errs := []error{i.corrupt}
	for _, c := range i.containers {
		errs = append(errs, c.corrupt)
	}
	for _, err := range errs {
		if err != nil {
			log.Warn("a record is corrupt; what it was about is left out, and taken away by the next that starts or stops an instance", "error", err)
		}
	}
}

// setAsideAll does that with the records that were found to be corrupt.
func (e *Engine) setAsideAll(found []*instance) {
	for _, i := range found {
		if i.corrupt != nil {
			e.setAside(i.recordPath(), i.id+".instance.json", i.corrupt)
		}
		for _, c := range i.containers {
			if c.corrupt != nil {
				e.setAside(c.recordPath(), i.id+"."+c.id+".container.json", c.corrupt)
			}
		}
	}
}

// intact returns nil if no record was found corrupt that is still kept for somebody to see.
func (e *Engine) intact() error {
	kept, err := os.ReadDir(e.cfg.corruptDir())
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(kept) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%d records were corrupt, what they were about was taken away, and they are kept in %s; remove them when you have seen them",
		len(kept), e.cfg.corruptDir())
}
