package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/image"
)

// cacheCommand manages what the caller's own commands have pulled.
func (w *workshop) cacheCommand() *cobra.Command {
	return group(
		&cobra.Command{
			Use: "cache", Short: "manage the images that your own commands have pulled",
			Long: "Manage the images that run, exec, shell and instance start have pulled for you: those named by\n" +
				"docker://, oras://, library://, https:// and the like. The node's images are those of siflet image.",
		},
		listCommand("list the images", w.cacheDir), w.cacheCleanCommand(),
	)
}

func (w *workshop) cacheDir() (string, error) {
	r, err := callerRoots()
	return filepath.Join(r.state, "images"), err
}

func (w *workshop) cacheCleanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "clean", Short: "remove the images that no instance uses", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := w.callerStore()
			if err != nil {
				return err
			}
			if dry, err := cmd.Flags().GetBool("dry-run"); err == nil && dry {
				return wouldClean(cmd, store)
			}
			return prune(cmd.Context(), cmd.OutOrStdout(), store)
		},
	}
	cmd.Flags().BoolP("dry-run", "n", false, "show what would be removed")
	cmd.Flags().BoolP("force", "f", false, "don't ask; nothing is asked anyway")
	_ = cmd.Flags().MarkHidden("force")
	return cmd
}

func wouldClean(cmd *cobra.Command, store *image.Store) error {
	found, err := store.List()
	if err != nil {
		return err
	}
	var unused []image.Image
	for _, i := range found {
		if !i.InPlace && !i.Pinned && !i.Kept {
			unused = append(unused, i)
		}
	}
	return writeImages(cmd.OutOrStdout(), unused, false)
}
