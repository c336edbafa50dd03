package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// lockFile is locked by the process that changes records, while it does. It holds
// the number of changes, which says whether records that were read before are
// those that are there: odd means that a change is under way, or was when its
// process died.
const lockFile = "lock"

// changes is what a store knows of changes to its directory.
type changes struct {
	known uint64 // the records in memory are as of it, or later
	own   bool   // this process is changing records: memory is ahead of the disk
	epoch uint64 // of own
}

// begin waits for the turn to change records, and for other processes to end
// theirs, and then knows the records as they are; the caller must call end.
func (s *Store) begin(ctx context.Context) (end func(), err error) {
	if s.readOnly {
		return nil, fmt.Errorf("%w: the image store %s is open for reading only", ErrUnsupported, s.dir)
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	lock, err := s.lock(ctx)
	if err != nil {
		<-s.turn
		return nil, fmt.Errorf("image store: %w", err)
	}
	change, err := s.enter(lock.File)
	if err != nil {
		err = errors.Join(err, lock.Close())
		<-s.turn
		return nil, fmt.Errorf("image store: %w", err)
	}
	return func() {
		s.leave(lock, change)
		<-s.turn
	}, nil
}

// storeLock is the lock file and, where its file system has no locks, one that is locked
// instead, if there is any.
type storeLock struct {
	*os.File

	instead *os.File
}

// Close gives the lock back.
func (l storeLock) Close() error {
	err := l.File.Close()
	if l.instead != nil {
		err = errors.Join(err, l.instead.Close())
	}
	return err
}

// lock takes the lock of the store: closing the file gives it back. It is held
// for milliseconds.
func (s *Store) lock(ctx context.Context) (l storeLock, err error) {
	if l.File, err = os.OpenFile(filepath.Join(s.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return l, err
	}
	err = await(ctx, l.File)
	if errors.Is(err, linux.ErrNoLocks) {
		err = nil
		if s.options.LockDir != nil {
			l.instead, err = s.lockElsewhere(ctx)
		}
	}
	if err != nil {
		return storeLock{}, errors.Join(err, l.Close())
	}
	return l, nil
}

// lockElsewhere takes a lock in a directory of this machine's own.
func (s *Store) lockElsewhere(ctx context.Context) (*os.File, error) {
	dir, err := s.options.LockDir()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "images.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, f); err != nil && !errors.Is(err, linux.ErrNoLocks) {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// await waits until an open file is locked.
func await(ctx context.Context, f *os.File) error {
	const longest = 20 * time.Millisecond
	delay := time.Millisecond
	for {
		if held, err := linux.TryLock(f); held || err != nil {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			delay = min(2*delay, longest)
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// enter reads what others changed and says that a change is under way.
func (s *Store) enter(lock *os.File) (change uint64, err error) {
	count := changeCount(lock)
	if s.stale(count) {
		if err := s.load(); err != nil {
			return 0, err
		}
	}
	change = count + 1 + count%2
	if err := writeCount(lock, change); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes.own = true
	s.changes.epoch++
	return change, nil
}

func (s *Store) leave(lock storeLock, change uint64) {
	err := writeCount(lock.File, change+1)
	s.mu.Lock()
	s.changes.own = false
	s.changes.epoch++
	s.changes.known = change + 1
	if err != nil {
		s.changes.known = 0 // it reads as a change under way: everybody looks again
	}
	s.mu.Unlock()
	_ = lock.Close() // it was written through
}

// stale says that the records in memory may not be those of the directory.
func (s *Store) stale(count uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return count == 0 || count%2 == 1 || count != s.changes.known
}

// refresh reads the records anew if another process has changed them.
func (s *Store) refresh() error {
	f, err := os.Open(filepath.Join(s.dir, lockFile))
	if err != nil {
		return err
	}
	count := changeCount(f)
	if err := f.Close(); err != nil || !s.stale(count) {
		return err
	}
	s.mu.Lock()
	before := s.changes
	s.mu.Unlock()
	if before.own {
		return nil
	}
	entries, problems, err := s.readEntries()
	if err != nil {
		return err
	}
	pins, _, err := s.readPins()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What this process has changed meanwhile it knows better. What another may
	// have changed meanwhile is left to the next look.
	if s.changes.epoch == before.epoch {
		s.entries, s.pins, s.problems = entries, pins, problems
		s.changes.known = count
	}
	return nil
}

// changeCount is zero when the file does not say.
func changeCount(f *os.File) uint64 {
	var b [8]byte
	if n, err := f.ReadAt(b[:], 0); n != len(b) || err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

func writeCount(f *os.File, count uint64) error {
	_, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, count), 0)
	return err
}

// snapshot is the records as they are now, in a stable order.
func (s *Store) snapshot() []entry {
	if !s.readOnly {
		// What can't be read now was read before.
		_ = s.refresh()
	}
	return s.records()
}

// records are those in memory, in a stable order.
func (s *Store) records() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]entry, 0, len(s.entries))
	for _, key := range slices.Sorted(maps.Keys(s.entries)) {
		list = append(list, s.entries[key])
	}
	return list
}
