package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/sif"
)

// overlayOptions are the flags of overlay create.
type overlayOptions struct {
	size   int
	sparse bool
	dirs   []string
}

func (w *workshop) overlayCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "overlay", Short: "make files that keep the changes of containers"},
		w.overlayCreateCommand(),
	)
}

func (w *workshop) overlayCreateCommand() *cobra.Command {
	var o overlayOptions
	cmd := &cobra.Command{
		Use: "create [flags] FILE", Short: "make a file that keeps changes, or give a SIF file room for them",
		Long: "Make a file with an ext3 file system, for --overlay FILE: what a container changes is kept there.\n" +
			"If FILE is a SIF file, the file system is added to it, for --writable. It needs mkfs.ext3 (e2fsprogs).",
		Example: "  siflet overlay create --size 1024 changes.img\n  siflet exec --overlay changes.img web.sif touch /kept",
		Args:    exactly(1, "want the name of a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flagsFromEnvironment(cmd.LocalFlags(), onlySparse); err != nil {
				return err
			}
			ctx, stop := toldToStop(cmd.Context())
			defer stop()
			return createOverlay(ctx, args[0], o)
		},
	}
	cmd.Flags().IntVarP(&o.size, "size", "s", leastOverlay, "size in MiB")
	cmd.Flags().BoolVarP(&o.sparse, "sparse", "S", false, "take room on disk as it is needed, not at once")
	cmd.Flags().StringSliceVar(&o.dirs, "create-dir", nil, "directories to make in it, where containers can write")
	return cmd
}

// onlySparse looks up the one variable that Singularity has here.
func onlySparse(name string) (string, bool) {
	if !strings.HasSuffix(name, "_SPARSE") {
		return "", false
	}
	return os.LookupEnv(name)
}

// Sizes in MiB. Less than the least is not worth a journal.
const (
	leastOverlay = 64
	mostOverlay  = 16 << 20
)

func createOverlay(ctx context.Context, path string, o overlayOptions) (err error) {
	if o.size < leastOverlay || o.size > mostOverlay {
		return usageError{text: fmt.Sprintf("--size %d: want at least %d MiB, and at most %d", o.size, leastOverlay, mostOverlay)}
	}
	info, statErr := os.Stat(path)
	switch {
	case statErr == nil && info.IsDir():
		return fmt.Errorf("%s is a directory, which --overlay takes as it is", path)
	case statErr == nil:
		if err := canHaveOverlay(path); err != nil {
			return err
		}
	case !errors.Is(statErr, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, unwrapPath(statErr))
	}
	scratch, err := newScratch(filepath.Dir(path))
	if err != nil {
		return noRoom(err, path)
	}
	defer func() { err = errors.Join(err, scratch.remove()) }()
	made := filepath.Join(scratch.dir, "overlay")
	if err := makeExt3(ctx, made, scratch.dir, o); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if statErr == nil {
		return addOverlay(ctx, path, made)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there now: somebody else has made it", path)
	}
	if err := os.Rename(made, path); err != nil {
		return fmt.Errorf("write %s: %w", path, unwrapLink(err))
	}
	return nil
}

// canHaveOverlay says what speaks against adding one to a file.
func canHaveOverlay(path string) error {
	f, err := openSIF(path)
	if err != nil {
		if errors.Is(err, sif.ErrNotSIF) {
			return fmt.Errorf("%s is there already, and is no SIF file that an overlay can be added to", path)
		}
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	switch {
	case f.IsOCI():
		return fmt.Errorf("%s is an OCI-SIF, which siflet adds no overlay to; make a file of its own: siflet overlay create changes.img", path)
	case signed(f):
		return fmt.Errorf("%s is signed, and would not verify any more; make a file of its own: siflet overlay create changes.img", path)
	}
	primary := false
	for _, d := range f.Descriptors {
		switch {
		case d.Type != sif.TypePartition:
		case d.FS == sif.FSEncryptedSquash:
			return fmt.Errorf("%s is encrypted; what is added would not be", path)
		case d.Part == sif.PartOverlay && d.FS == sif.FSExt3:
			return fmt.Errorf("%s has a writable overlay already; delete it with: siflet sif del %d %s", path, d.ID, path)
		case d.Part == sif.PartPrimary:
			primary = true
		}
	}
	if !primary {
		return fmt.Errorf("%s has no root file system to change", path)
	}
	return nil
}

// makeExt3 makes a file system with the directories of an overlay.
func makeExt3(ctx context.Context, path, scratch string, o overlayOptions) error {
	mkfs, err := exec.LookPath("mkfs.ext3")
	if err != nil {
		mkfs = "/sbin/mkfs.ext3" // which is in few people's PATH
	}
	if _, err := os.Stat(mkfs); err != nil {
		return errors.New("it needs mkfs.ext3; install e2fsprogs")
	}
	tree := filepath.Join(scratch, "tree")
	if err := overlayTree(tree, o.dirs); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	size := int64(o.size) << 20
	if o.sparse {
		err = f.Truncate(size)
	} else {
		err = fillZeros(ctx, f, size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make %d MiB: %w", o.size, unwrapPath(err))
	}
	args := []string{"-q", "-F", "-m", "0", "-d", tree}
	if !o.sparse {
		args = append(args, "-E", "nodiscard") // it would give back what was just taken
	}
	cmd := exec.CommandContext(ctx, mkfs, append(args, path)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", mkfs, err, strings.TrimSpace(string(bytes.ReplaceAll(out, []byte(path), []byte("the file")))))
	}
	return nil
}

// overlayTree is what a new overlay holds.
func overlayTree(dir string, dirs []string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	upper := filepath.Join(dir, "upper")
	err := errors.Join(commonDirectory(filepath.Join(dir, "work")), commonDirectory(upper))
	for _, name := range dirs {
		at := upper
		for part := range strings.SplitSeq(strings.Trim(filepath.Clean("/"+name), "/"), "/") {
			at = filepath.Join(at, part)
			err = errors.Join(err, commonDirectory(at))
		}
	}
	return err
}

// commonDirectory makes a directory for everybody to enter, whatever the umask.
func commonDirectory(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, 0o755)
}

func fillZeros(ctx context.Context, f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for range size >> 20 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if _, err := f.Write(zeros); err != nil {
			return err
		}
	}
	return nil
}

// addOverlay adds a file system to a SIF file; what is zero in it takes no room there.
func addOverlay(ctx context.Context, path, made string) error {
	f, err := openSIF(path)
	if err != nil {
		return err
	}
	arch := f.Header.Arch
	if err := f.Close(); err != nil {
		return err
	}
	if arch == "unknown" {
		arch = goruntime.GOARCH
	}
	in, err := os.Open(made)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	object := sif.Object{Type: sif.TypePartition, Name: "overlay", FS: sif.FSExt3, Part: sif.PartOverlay, Arch: arch}
	object.Fill = func(w io.WriterAt) (int64, error) { return copySparse(ctx, w, in) }
	_, err = sif.Add(ctx, path, sif.Addition{Object: object, Group: 1})
	return editFailure(err, path)
}

// copySparse leaves out what is zero.
func copySparse(ctx context.Context, w io.WriterAt, r io.Reader) (size int64, err error) {
	const block = 64 << 10
	buf, zeros := make([]byte, block), make([]byte, block)
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		n, err := io.ReadFull(r, buf)
		if n > 0 && !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := w.WriteAt(buf[:n], size); err != nil {
				return 0, err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, nil
		case err != nil:
			return 0, err
		}
	}
}
