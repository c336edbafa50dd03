package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
)

// taken is what something takes on the disk.
type taken struct {
	What  string `json:"what"`
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"`
	// Spare are the bytes of it that prune would give back: of images that nothing needs,
	// without what they share with others.
	Spare uint64 `json:"spare"`
	Free  uint64 `json:"free"` // of the file system
	Place string `json:"place"`
}

func (w *workshop) dfCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "df", Short: "show what images and containers take on the disk", Args: exactly(0, "want no arguments"),
		Long: "Show what images and containers take on the disk: the caller's own and, for root, the node's. SPARE is at least what\n" +
			"siflet system prune would give back.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := w.taken(cmd.Context())
			if err != nil {
				return err
			}
			return writeTaken(cmd.OutOrStdout(), list, asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	return cmd
}

func (w *workshop) taken(ctx context.Context) ([]taken, error) {
	list := []taken{}
	if linux.IsRoot() {
		images, err := takenByImages("node's images", w.imageDir())
		if err != nil {
			return nil, err
		}
		layers, err := w.takenByLayers(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, images, layers)
	}
	dir, err := w.cacheDir()
	if err != nil {
		return nil, err
	}
	own, err := takenByImages("your images", dir)
	return append(list, own), err
}

func takenByImages(what, dir string) (taken, error) {
	out := taken{What: what, Place: dir}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	store, err := image.View(dir)
	if err != nil {
		return out, err
	}
	all, err := store.List()
	if err != nil {
		return out, err
	}
	used := map[string]bool{} // files that images have which stay
	for _, i := range all {
		if i.Pinned || i.Kept || i.InPlace {
			for _, e := range i.Extents {
				used[e.Path] = true
			}
		}
	}
	for _, i := range all {
		if i.InPlace {
			continue
		}
		out.Count++
		for _, e := range i.Extents {
			if size, err := linux.Usage(e.Path); err == nil && !used[e.Path] {
				out.Spare += size
				used[e.Path] = true
			}
		}
	}
	if out.Bytes, _, _, err = store.Usage(); err != nil {
		return out, err
	}
	return out, out.room()
}

// takenByLayers are the writable layers of the pods.
func (w *workshop) takenByLayers(ctx context.Context) (taken, error) {
	out := taken{What: "containers", Place: filepath.Join(w.agent.state, "instances")}
	views, err := w.views(ctx, true)
	if err != nil {
		return out, err
	}
	for _, v := range views {
		if v.pods {
			out.Count, out.Bytes = len(v.Containers()), v.DiskUsage(out.Place).Bytes
			return out, out.room()
		}
	}
	return out, nil
}

func (t *taken) room() error {
	room, err := linux.RoomAt(t.Place)
	t.Free = room.FreeBytes
	return err
}

func writeTaken(w io.Writer, list []taken, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"usage": list})
	}
	rows := [][]string{{"WHAT", "COUNT", "SIZE", "SPARE", "FREE", "PLACE"}}
	for _, t := range list {
		free := "-"
		if t.Free > 0 {
			free = bytesIEC(t.Free)
		}
		rows = append(rows, []string{t.What, strconv.Itoa(t.Count), bytesIEC(t.Bytes), bytesIEC(t.Spare), free, t.Place})
	}
	return table(w, rows)
}

func (w *workshop) systemCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "system", Short: "what is needed on the disk, and what is not"},
		w.dfCommand(), w.systemPruneCommand(),
	)
}

func (w *workshop) systemPruneCommand() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "prune", Short: "remove all images that no container uses and nobody pinned", Args: exactly(0, "want no arguments"),
		Long: "Remove all images that no container uses and nobody pinned, and what else is left over in the stores: the caller's own\n" +
			"and, for root, the node's. The agent may run meanwhile.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var stores []func() (*image.Store, error)
			if linux.IsRoot() {
				stores = append(stores, w.imageStore)
			}
			for _, open := range append(stores, w.callerStore) {
				store, err := open()
				if err == nil && dry {
					err = wouldClean(cmd, store)
				} else if err == nil {
					err = prune(cmd.Context(), cmd.OutOrStdout(), store)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "show what would be removed")
	return cmd
}
