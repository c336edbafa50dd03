package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/image"
)

func (w *workshop) imageCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "image", Short: "manage the node's images", Long: "Manage the images that the node agent's pods use. The agent may run meanwhile."},
		w.imagePullCommand(), w.importCommand(), w.imageListCommand(), w.imageInspectCommand(), w.imageRemoveCommand(),
		w.keepCommand("pin", "keep an image until somebody removes it by name: prune and the kubelet leave it alone", true),
		w.keepCommand("unpin", "let an image be pruned again", false),
		w.imagePruneCommand(), w.imageCollectCommand(),
	)
}

func (w *workshop) imagePullCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pull IMAGE...", Short: "pull images into the store, or make files known that are used in place",
		Long: "Pull images into the store, as a kubelet would have it done. A name without a scheme is a\n" +
			"registry's: nginx is docker.io/library/nginx:latest. Also docker://, oras://, library://, https://,\n" +
			"docker-archive:, oci-archive:, oci:, and absolute paths of SIF files, which stay where they are\n" +
			"(local.file/shared/web.sif is /shared/web.sif, as in a pod).",
		Args: atLeast(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			return w.bring(cmd.Context(), cmd.OutOrStdout(), args, func(ctx context.Context, ref string, show func(done, total int64)) ([]string, error) {
				ref = image.LocalFile(ref)
				if err := hereAlready(ref, "for the file, give its absolute path"); err != nil {
					return nil, err
				}
				img, err := store.Pull(ctx, ref, image.PullOptions{Progress: show})
				if err == nil && img.ImportedAs(ref) {
					info(w.stderr, "%s was imported here; the registry was not asked (siflet image rm %s to ask it)", printable(ref), printable(ref))
				}
				return pulledAs(img, ref), err
			})
		},
	}
}

func (w *workshop) importCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE [NAME[:TAG]]", Short: "copy a SIF file, or an image in an archive, into the store",
		Long: "Copy a SIF file into the store under a name, by default one made of the file's.\n" +
			"docker-archive:FILE, oci-archive:FILE and oci:DIR are converted and keep the names they bring along.\n" +
			"A name that another image has moves, with a warning. A pull of a name that was imported is content\n" +
			"with what is here, and asks no registry.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{text: "want a SIF file and, at most, a name for it"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			tag := ""
			if len(args) > 1 {
				tag = args[1]
			}
			options := w.storeOptions()
			options.Moved = func(name, id string) {
				warn(w.stderr, "%s meant another image until now (%s)", printable(familiar(name)), id)
			}
			store, err := w.nodeStore(options)
			if err != nil {
				return err
			}
			return w.bring(cmd.Context(), cmd.OutOrStdout(), args[:1], func(ctx context.Context, path string, show func(done, total int64)) ([]string, error) {
				img, err := store.Import(ctx, path, tag, show)
				if err != nil {
					return nil, err
				}
				return importedAs(ctx, img, path, tag), nil
			})
		},
	}
}

// bring gets images, shows how far it is, and prints the names that they got, one in a
// line. One that can't be had keeps nobody from the others.
func (w *workshop) bring(ctx context.Context, out io.Writer, refs []string,
	get func(ctx context.Context, ref string, show func(done, total int64)) (names []string, err error),
) error {
	// Told to stop, it leaves nothing half done.
	ctx, stop := toldToStop(ctx)
	defer stop()
	return each(ctx, refs, func(ref string) error {
		if err := needsScheme(ref); err != nil {
			return err
		}
		bar := newProgress(w.stderr)
		names, err := get(ctx, ref, bar.show)
		bar.end()
		if err != nil {
			return err
		}
		return printLines(out, names)
	})
}

// each does something with every image that was named, until ctx ends, and says what of it
// failed.
func each(ctx context.Context, refs []string, do func(ref string) error) error {
	var errs []error
	for _, ref := range refs {
		if ctx.Err() != nil && len(errs) > 0 {
			break
		}
		if err := do(ref); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// printLines prints what strangers may have named.
func printLines(out io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, printable(line)); err != nil {
			return err
		}
	}
	return nil
}

func (w *workshop) imageRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm IMAGE...", Aliases: []string{"remove"}, Short: "remove images with all their names; files used in place stay",
		Args: atLeast(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			// Several may be names of one image, which goes with the first.
			var there []string
			err = each(cmd.Context(), args, func(ref string) error {
				ref = image.LocalFile(ref)
				// One that is damaged can't be looked up, and must go all the same.
				if _, err := store.Lookup(ref); err != nil && !isDamaged(err) {
					return err
				}
				there = append(there, ref)
				return nil
			})
			return errors.Join(err, each(cmd.Context(), there, func(ref string) error { return store.Remove(cmd.Context(), ref) }))
		},
	}
}

func (w *workshop) keepCommand(verb, short string, keep bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " IMAGE...", Short: short, Args: atLeast(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(ref string) error { return store.Keep(cmd.Context(), image.LocalFile(ref), keep) })
		},
	}
}

func (w *workshop) imagePruneCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prune", Short: "remove the images that no container uses and nobody pinned", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			return prune(cmd.Context(), cmd.OutOrStdout(), store)
		},
	}
}

// prune removes images and what else nobody needs, and says what went.
func prune(ctx context.Context, out io.Writer, store *image.Store) error {
	before, _, _, err := store.Usage()
	if err != nil {
		return err
	}
	gone, err := store.Prune(ctx)
	if err != nil {
		return err
	}
	for _, i := range gone {
		if err := printLines(out, namesOf(i)); err != nil {
			return err
		}
	}
	if _, err := store.Collect(ctx); err != nil {
		return err
	}
	after, _, _, err := store.Usage()
	if err != nil {
		return err
	}
	return freed(out, before-min(after, before))
}

func freed(out io.Writer, bytes uint64) error {
	_, err := fmt.Fprintf(out, "freed %s\n", bytesIEC(bytes))
	return err
}

func (w *workshop) imageCollectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "gc", Short: "remove what no image needs: layers, stale parts of downloads", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			bytes, err := store.Collect(cmd.Context())
			if err != nil {
				return err
			}
			return freed(cmd.OutOrStdout(), uint64(max(bytes, 0)))
		},
	}
}
