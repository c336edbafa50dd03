package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/sif"
)

func (w *workshop) sifCommand() *cobra.Command {
	return group(
		&cobra.Command{
			Use: "sif", Aliases: []string{"siftool"}, Short: "look into SIF files and change them",
			Long: "Look into SIF files and change them, object by object, as Singularity's siftool does.\n" +
				"A change is made in place; killed at any point it leaves the file as it was, or changed.\n" +
				"What is signed is only changed with --force: the signature does not verify then.",
		},
		sifShowCommand("header FILE", "show the global header", writeHeader),
		sifShowCommand("list FILE", "list the objects", writeObjects),
		sifObjectCommand("info ID FILE", "show the descriptor of an object", writeDescriptor),
		sifObjectCommand("dump ID FILE", "write an object's data to standard output", dump),
		w.sifNewCommand(), w.sifAddCommand(), w.sifDeleteCommand(), w.sifPrimaryCommand(),
	)
}

// openSIF opens a file that is to be looked into.
func openSIF(path string) (*sif.File, error) {
	f, err := sif.Open(path)
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("%s: %w", path.Path, path.Err)
	}
	return f, err
}

func sifShowCommand(use, short string, show func(*safeWriter, *sif.File) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(1, "want a SIF file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := openSIF(args[0])
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // read only
			return show(newSafeWriter(cmd.OutOrStdout()), f)
		},
	}
}

func sifObjectCommand(use, short string, show func(*safeWriter, *sif.File, sif.Descriptor) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(2, "want the ID of an object and a SIF file"), //nolint:mnd // those two
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := objectID(args[0])
			if err != nil {
				return err
			}
			f, err := openSIF(args[1])
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // read only
			for _, d := range f.Descriptors {
				if d.ID == id {
					return show(newSafeWriter(cmd.OutOrStdout()), f, d)
				}
			}
			return editFailure(fmt.Errorf("object %d: %w", id, sif.ErrNoObject), args[1])
		},
	}
}

func objectID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 0 {
		return 0, usageError{text: fmt.Sprintf("%q is not the ID of an object: want a number, as siflet sif list shows them", text)}
	}
	return uint32(id), nil
}

// editFailure says what to do about an edit of a file that failed.
func editFailure(err error, path string) error {
	switch {
	case errors.Is(err, sif.ErrNoObject):
		return fmt.Errorf("%s: %w; see: siflet sif list %s", path, err, path)
	case errors.Is(err, sif.ErrSigned):
		return fmt.Errorf("%s: %w; delete the signature first, or say --force", path, err)
	case err != nil:
		return fmt.Errorf("%s: %w", path, unwrapPath(err))
	}
	return nil
}

func (w *workshop) sifNewCommand() *cobra.Command {
	return &cobra.Command{
		Use: "new FILE", Short: "make a SIF file without objects", Args: exactly(1, "want the name of a file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s is there already; remove it first", args[0])
			}
			return sif.Create(args[0], sif.Options{})
		},
	}
}

func (w *workshop) sifDeleteCommand() *cobra.Command {
	var o sif.DeleteOptions
	cmd := &cobra.Command{
		Use: "del ID FILE", Aliases: []string{"delete"}, Short: "delete an object",
		Long: "Delete an object. Its data stays in the file, as with Singularity's siftool, where nobody looks for it;\n" +
			"--compact cuts it off if nothing comes after it. No container may use the file then.",
		Args: exactly(2, "want the ID of an object and a SIF file"), //nolint:mnd // those two
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := objectID(args[0])
			if err != nil {
				return err
			}
			deleted, err := sif.Delete(args[1], id, o)
			if err == nil && deleted.Type == sif.TypeSignature {
				warn(w.stderr, "object %d was a signature: what it covered is not signed any more", id)
			}
			return editFailure(err, args[1])
		},
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "delete what is signed, too")
	cmd.Flags().BoolVar(&o.Compact, "compact", false, "make the file smaller if the object is its last")
	return cmd
}

func (w *workshop) sifPrimaryCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "setprim ID FILE", Short: "make a system partition the primary one, which runs",
		Args: exactly(2, "want the ID of an object and a SIF file"), //nolint:mnd // those two
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := objectID(args[0])
			if err != nil {
				return err
			}
			return editFailure(sif.SetPrimary(args[1], id, force), args[1])
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "change what is signed, too")
	return cmd
}
