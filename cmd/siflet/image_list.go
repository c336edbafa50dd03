package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/trust"
)

// listedImage is one image of `image list --json`.
type listedImage struct {
	ID         string    `json:"id"`
	References []string  `json:"references"`
	Digests    []string  `json:"digests,omitempty"`
	Size       int64     `json:"size"`
	Path       string    `json:"path,omitempty"`
	InPlace    bool      `json:"in_place"`
	Pinned     bool      `json:"in_use"`
	Kept       bool      `json:"pinned"`
	Created    time.Time `json:"created"`
}

func listOf(i image.Image) listedImage {
	return listedImage{
		ID: i.ID, References: i.References, Digests: i.Digests, Size: i.Size, Path: i.Path, InPlace: i.InPlace,
		Pinned: i.Pinned, Kept: i.Kept, Created: i.CreatedAt,
	}
}

func (w *workshop) imageListCommand() *cobra.Command {
	return listCommand("list the node's images", func() (string, error) { return w.imageDir(), nil })
}

func listCommand(short string, dir func() (string, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: short, Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := dir()
			if err != nil {
				return err
			}
			store, err := image.View(dir)
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
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON, with full names")
	return cmd
}

func writeImages(w io.Writer, found []image.Image, asJSON bool) error {
	list := []listedImage{}
	rows := [][]string{{"IMAGE", "ID", "SIZE", "USE", "FILE"}}
	for _, i := range found {
		list = append(list, listOf(i))
		rows = append(rows, listRows(i)...)
	}
	if asJSON {
		return writeJSON(w, map[string]any{"images": list})
	}
	return table(w, rows)
}

// listRows are the lines of an image, one for each name. A file is shown that is the
// person's own, unless that is its name.
func listRows(i image.Image) [][]string {
	const short = len("sha256:") + 12
	names := []string{"<none>"}
	if len(i.References)+len(i.Digests) > 0 {
		names = namesOf(i)
	}
	var rows [][]string
	for _, name := range names {
		file := ""
		if i.InPlace && name != i.Path {
			file = i.Path
		}
		rows = append(rows, []string{name, i.ID[:min(short, len(i.ID))], bytesIEC(uint64(max(i.Size, 0))), uses(i), file})
	}
	return rows
}

// uses says why an image stays.
func uses(i image.Image) string {
	var why []string
	if i.Pinned {
		why = append(why, "in use")
	}
	if i.Kept {
		why = append(why, "pinned")
	}
	return strings.Join(why, ", ")
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "\t")
	return encoder.Encode(v)
}

// inspectedImage is all there is to know of an image.
type inspectedImage struct {
	listedImage
	Source     string            `json:"source,omitempty"`
	Arch       string            `json:"arch"`
	Native     bool              `json:"native"`
	Manifests  []string          `json:"manifests,omitempty"`
	Signatures []trust.Signature `json:"signatures,omitempty"`
	Layers     []string          `json:"layers,omitempty"`
	Extents    []extent          `json:"extents"`
	Config     imageConfig       `json:"config"`
}

type extent struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	FS     string `json:"fs"`
}

type imageConfig struct {
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	Env          []string          `json:"env,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
	User         string            `json:"user,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Volumes      []string          `json:"volumes,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"`
	Healthcheck  *sif.Healthcheck  `json:"healthcheck,omitempty"`
}

func (w *workshop) imageInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect IMAGE...", Short: "show all there is to know of images, as JSON", Args: atLeast(1, "want an image"),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := image.View(w.imageDir())
			if err != nil {
				return err
			}
			var list []inspectedImage
			for _, ref := range args {
				i, err := store.Lookup(image.LocalFile(ref))
				if err != nil {
					return err
				}
				list = append(list, inspected(i))
			}
			return writeJSON(cmd.OutOrStdout(), map[string]any{"images": list})
		},
	}
}

func inspected(i image.Image) inspectedImage {
	out := inspectedImage{
		listedImage: listOf(i), Source: i.Source, Arch: i.Arch, Native: i.Native, Manifests: i.Manifests,
		Signatures: i.Signatures, Layers: i.Layers, Config: imageConfig(i.Config),
	}
	for _, e := range i.Extents {
		out.Extents = append(out.Extents, extent(e))
	}
	return out
}

// isDamaged says that an image is there but of no use.
func isDamaged(err error) bool {
	return errors.Is(err, image.ErrInvalid) || errors.Is(err, image.ErrDamaged)
}
