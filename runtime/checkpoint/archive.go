package checkpoint

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The names in an archive: those that checkpointctl, containerd, CRI-O and Podman use.
const (
	ConfigFile = "config.dump"
	SpecFile   = "spec.dump"
	StatusFile = "status.dump"
	ImagesDir  = "checkpoint"
	StdioFile  = "descriptors.json" // in ImagesDir, as runc has it
	DiffFile   = "rootfs-diff.tar"
	LogFile    = "container.log"
	DumpLog    = "dump.log"
	statsFile  = "stats-dump"
)

// Config is config.dump.
type Config struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	RootfsImage     string    `json:"rootfsImage,omitempty"`
	RootfsImageRef  string    `json:"rootfsImageRef,omitempty"`  // the image's ID
	RootfsImageName string    `json:"rootfsImageName,omitempty"` // what the container called it
	Runtime         string    `json:"runtime,omitempty"`
	CreatedAt       time.Time `json:"createdTime"`
	CheckpointedAt  time.Time `json:"checkpointedTime"`
	RestoredAt      time.Time `json:"restoredTime"`
	Restored        bool      `json:"restored"`
}

// Pack writes the directory dir, laid out as an archive is, to w. Its files are those
// named above; others are left out.
func Pack(w io.Writer, dir string) error {
	out := tar.NewWriter(w)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !known(name) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		header, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		header.Name, header.Uname, header.Gname = name, "", ""
		if info.IsDir() {
			header.Name += "/"
		}
		if err := out.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		_, err = io.CopyN(out, f, header.Size)
		return err
	})
	return errors.Join(err, out.Close())
}

// known says whether a name is one that an archive may have.
func known(name string) bool {
	if dir, base := path.Split(name); dir == ImagesDir+"/" {
		return base != ""
	}
	return slices.Contains([]string{ConfigFile, SpecFile, StatusFile, ImagesDir, DiffFile, LogFile, DumpLog, statsFile}, name)
}

// Unpack reads an archive into the directory dir. Nothing of it is trusted: names that
// an archive does not have are left out, and so is what is neither file nor directory.
func Unpack(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // closed files are written
	const mostEntries = 1 << 20
	in := tar.NewReader(r)
	for range mostEntries {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read checkpoint: %w", err)
		}
		name := path.Clean(strings.TrimPrefix(header.Name, "./"))
		if header.Typeflag != tar.TypeReg || !known(name) {
			continue
		}
		if isSparse(header) {
			return fmt.Errorf("unpack checkpoint: %s: a sparse file, whose holes would fill the disk", name)
		}
		if err := unpackFile(root, name, in); err != nil {
			return fmt.Errorf("unpack checkpoint: %s: %w", name, err)
		}
	}
	return errors.New("read checkpoint: too many files")
}

// isSparse says that a file is larger than what the archive holds of it, however large.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func unpackFile(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// IsArchive says whether a regular file is an archive of a container: a tar that holds
// what describes one.
func IsArchive(f io.Reader) bool {
	const most = 1 << 16
	in := tar.NewReader(f)
	for range most {
		header, err := in.Next()
		if err != nil {
			return false
		}
		switch strings.TrimPrefix(header.Name, "./") {
		case ConfigFile, SpecFile:
			return true
		}
	}
	return false
}

// IsUnpacked says whether a directory is an unpacked archive.
func IsUnpacked(root *os.Root) bool {
	for _, name := range []string{ConfigFile, SpecFile} {
		if info, err := root.Lstat(name); err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	info, err := root.Lstat(ImagesDir)
	return err == nil && info.IsDir()
}

// Copy is Unpack of an archive that is unpacked already, and not trusted either.
func Copy(from *os.Root, dir string) error {
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // closed files are written
	err = fs.WalkDir(from.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && name != ImagesDir:
			return fs.SkipDir
		case !entry.Type().IsRegular() || !known(name):
			return nil
		}
		f, err := from.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		return unpackFile(to, name, f)
	})
	if err != nil {
		return fmt.Errorf("copy checkpoint: %w", err)
	}
	return nil
}

// ReadConfig reads config.dump in the directory of an unpacked archive.
func ReadConfig(dir string) (Config, error) {
	var c Config
	err := readJSON(filepath.Join(dir, ConfigFile), &c)
	if err == nil && c.RootfsImageRef == "" && c.RootfsImageName == "" {
		err = errors.New("names no image")
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", ConfigFile, err)
	}
	return c, nil
}

// ReadSpec reads spec.dump, of which the process is used.
func ReadSpec(dir string) (*specs.Spec, error) {
	spec := &specs.Spec{}
	err := readJSON(filepath.Join(dir, SpecFile), spec)
	if err == nil && spec.Process == nil {
		err = errors.New("describes no process")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", SpecFile, err)
	}
	return spec, nil
}

// ReadStdio says what the process's first descriptors were; see program.Restore.
func ReadStdio(dir string) ([]string, error) {
	var names []string
	if err := readJSON(filepath.Join(dir, ImagesDir, StdioFile), &names); err != nil {
		return nil, fmt.Errorf("%s: %w", StdioFile, err)
	}
	return names, nil
}

// WriteJSON writes a file of an archive.
func WriteJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	const longest = 16 << 20
	return json.NewDecoder(io.LimitReader(f, longest)).Decode(v)
}
