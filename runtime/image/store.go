package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/record"
	"github.com/siflet/siflet/runtime/trust"
)

const (
	imagesDir = "images"
	pinsDir   = "pins"
	blobsDir  = "sha256"
	layersDir = "layers"
	ingestDir = "ingest"
	partsDir  = "downloads"
	suffix    = ".json"
	sifSuffix = ".sif"

	formatVersion = 1
)

// entry is the record of an image. The file is named by the key.
type entry struct {
	Version int `json:"version"`
	// ID is the image's; for a file in place, as it was when last pulled.
	ID         string    `json:"id"`
	Path       string    `json:"path"`
	InPlace    bool      `json:"in_place,omitempty"`
	References []string  `json:"references"`
	UpdatedAt  time.Time `json:"updated_at"`
	Kept       bool      `json:"kept,omitempty"`
	origin
	// OCI is nil for a SIF.
	OCI *ociContent `json:"oci,omitempty"`
}

// origin is what a record says of where an image is from. The fields are as in
// Image.
type origin struct {
	Digests    []string          `json:"digests,omitempty"`
	Manifests  []string          `json:"manifests,omitempty"`
	Signatures []trust.Signature `json:"signatures,omitempty"`
	Source     string            `json:"source,omitempty"`
}

// pin is the record of an owner's pins.
type pin struct {
	Version int      `json:"version"`
	Owner   string   `json:"owner"`
	IDs     []string `json:"ids"`
}

// Store is a directory of images. It is safe for concurrent use, and many
// processes may have one directory open.
type Store struct {
	dir      string
	readOnly bool
	options  Options
	log      *slog.Logger
	files    parser
	problems []error
	work     work

	// turn is held by the one operation that changes image records, across its
	// writes, so that they reach the disk in the order they were decided. With it
	// goes the lock that keeps other processes out.
	turn chan struct{}

	mu      sync.Mutex
	changes changes
	entries map[string]entry // by key
	pins    map[string]pin   // by owner
}

// Open opens the store in dir, making the directory if it is not there, and
// clears away what a store that was killed left behind, which on a disk that can't be
// written is left to a later one.
func Open(dir string, o Options) (*Store, error) {
	s, err := newStore(dir)
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s.configure(o)
	for _, name := range []string{imagesDir, pinsDir, blobsDir, layersDir, ingestDir, partsDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, name), 0o700); err != nil {
			return nil, fmt.Errorf("open image store: %w", err)
		}
	}
	end, err := s.begin(context.Background())
	if errors.Is(err, linux.EROFS) {
		if err = s.load(); err == nil {
			return s, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	defer end()
	if _, err := s.clean(); err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	return s, nil
}

// View reads the store in dir as it is now and changes nothing. Operations that
// would are refused. A store that is not there is an empty one.
func View(dir string) (*Store, error) {
	s, err := newStore(dir)
	if err != nil {
		return nil, fmt.Errorf("view image store: %w", err)
	}
	s.readOnly = true
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("view image store: %w", err)
	}
	return s, nil
}

// Problems are the records that could not be read when the store was opened.
// They and the files they may speak of are left alone.
func (s *Store) Problems() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problems
}

// Intact returns nil if all records of images that are there can be read.
func (s *Store) Intact() error {
	if len(s.Problems()) == 0 {
		return nil
	}
	_, problems, err := s.readEntries()
	if err != nil {
		return err
	}
	if len(problems) == 0 {
		s.mu.Lock()
		s.changes.known = 0 // they are read anew before anybody removes a file
		s.mu.Unlock()
		return s.refresh()
	}
	return fmt.Errorf("%d image records in %s can't be read, their images are not there, and no file of any image is removed: "+
		"remove these records and pull their images again: %w", len(problems), filepath.Join(s.dir, imagesDir), errors.Join(problems...))
}

func newStore(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Store{
		dir: dir, log: slog.New(slog.DiscardHandler), turn: make(chan struct{}, 1), files: parser{parsed: map[string]parsedFile{}},
		entries: map[string]entry{}, pins: map[string]pin{},
	}, nil
}

// key names the record: by content for imported files, by path for others.
func (e entry) key() string {
	if !e.InPlace {
		return strings.TrimPrefix(e.ID, idScheme)
	}
	return "path-" + shortHash(e.Path)
}

func (e entry) valid() bool {
	return isDigest(e.ID) && (!e.InPlace || filepath.IsAbs(e.Path) && e.OCI == nil) && e.OCI.valid()
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func (s *Store) blob(id string) string {
	return filepath.Join(s.dir, blobsDir, strings.TrimPrefix(id, idScheme)+sifSuffix)
}

func (s *Store) recordPath(key string) string { return filepath.Join(s.dir, imagesDir, key+suffix) }

// save writes the entry, then shows it. The caller has the turn.
func (s *Store) save(e entry) error {
	e.Version = formatVersion
	if err := record.Write(s.recordPath(e.key()), e); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[e.key()] = e
	return nil
}

// forget hides an entry that nobody needs, then deletes its record and those of
// its files that no other image has. It reports false, having done nothing, if
// the files are ours and pinned. The caller has the turn.
func (s *Store) forget(key string) (bool, error) {
	s.mu.Lock()
	e, ok := s.entries[key]
	if ok && !e.InPlace && s.pinnedLocked(e.ID) {
		s.mu.Unlock()
		return false, nil
	}
	// From here on Pin does not find it.
	delete(s.entries, key)
	needed := s.neededLocked()
	s.mu.Unlock()
	err := removeIfThere(s.recordPath(key))
	if err != nil {
		return true, err // the record, when it is read again, must find its files
	}
	for _, file := range e.files() {
		if !needed[file] && len(s.Problems()) == 0 {
			err = errors.Join(err, s.removeStored(file))
		}
	}
	return true, err
}

// neededLocked are the files that some image is made of, relative to the store.
func (s *Store) neededLocked() map[string]bool {
	needed := map[string]bool{}
	for _, e := range s.entries {
		for _, file := range e.files() {
			needed[file] = true
		}
	}
	return needed
}

// removeStored removes a file, or directory, of the store that no record speaks of.
func (s *Store) removeStored(file string) error {
	path := filepath.Join(s.dir, file)
	if filepath.Ext(file) != aclSuffix {
		return removeIfThere(path)
	}
	_, err := s.discardACLs(path)
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
