package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall" //nolint:depguard // the name of a signal; no system call
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/siflet/siflet/runtime/image"
)

func (w *workshop) imageCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "image", Short: "manage the node's images", Long: "Manage the images that the node agent's pods use. The agent may run meanwhile."},
		w.importCommand(), w.imageListCommand(), w.imageRemoveCommand(),
	)
}

func (w *workshop) importCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE [NAME[:TAG]]", Short: "copy a SIF file into the store",
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
			return w.importImage(cmd.Context(), cmd.OutOrStdout(), args[0], tag)
		},
	}
}

func (w *workshop) importImage(ctx context.Context, out io.Writer, path, tag string) error {
	store, err := w.imageStore() //nolint:contextcheck // it takes milliseconds
	if err != nil {
		return err
	}
	// Told to stop, it leaves nothing half copied.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	bar := newProgress(w.stderr)
	img, err := store.Import(ctx, path, tag, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(img.References, " "))
	return err
}

func (w *workshop) imageStore() (*image.Store, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(w.agent.state, 0o711); err != nil {
		return nil, err
	}
	options, err := w.storeOptions()
	if err != nil {
		return nil, err
	}
	return image.Open(w.imageDir(), options)
}

// progress shows how far a copy is, on a terminal only.
type progress struct {
	w    io.Writer
	last time.Time
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{w: w}
	}
	return &progress{}
}

func (p *progress) show(done, total int64) {
	const pause = 100 * time.Millisecond
	if p.w == nil || total <= 0 || done < total && time.Since(p.last) < pause {
		return
	}
	p.last = time.Now()
	_, _ = fmt.Fprintf(p.w, "\r\033[K%3d%%  %s of %s", 100*done/total, bytesIEC(uint64(done)), bytesIEC(uint64(total)))
}

func (p *progress) end() {
	if p.w != nil && !p.last.IsZero() {
		_, _ = fmt.Fprint(p.w, "\r\033[K")
	}
}

// listedImage is one image of `image list --json`.
type listedImage struct {
	ID         string    `json:"id"`
	References []string  `json:"references"`
	Size       int64     `json:"size"`
	Path       string    `json:"path"`
	InPlace    bool      `json:"in_place"`
	Pinned     bool      `json:"in_use"`
	Created    time.Time `json:"created"`
}

func (w *workshop) imageListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the node's images", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := image.View(w.imageDir())
			if err != nil {
				return err
			}
			found, err := store.List()
			if err != nil {
				return err
			}
			return writeImages(cmd.OutOrStdout(), found, asJSON)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	return cmd
}

func writeImages(w io.Writer, found []image.Image, asJSON bool) error {
	list := []listedImage{}
	rows := [][]string{{"IMAGE", "ID", "SIZE", "FILE"}}
	for _, i := range found {
		list = append(list, listedImage{
			ID: i.ID, References: i.References, Size: i.Size, Path: i.Path, InPlace: i.InPlace, Pinned: i.Pinned, Created: i.CreatedAt,
		})
		const short = len("sha256:") + 12
		names := strings.Join(i.References, " ")
		if names == "" {
			names = "<none>"
		}
		rows = append(rows, []string{names, i.ID[:min(short, len(i.ID))], bytesIEC(uint64(max(i.Size, 0))), i.Path})
	}
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "\t")
		return encoder.Encode(map[string]any{"images": list})
	}
	return table(w, rows)
}

func (w *workshop) imageRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm IMAGE...", Aliases: []string{"remove"}, Short: "remove images from the store; files used in place stay",
		Args: atLeast(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := w.imageStore()
			if err != nil {
				return err
			}
			for _, ref := range args {
				if _, err := store.Lookup(ref); err != nil {
					return err
				}
				if err := store.Remove(cmd.Context(), ref); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
