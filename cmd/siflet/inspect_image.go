package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/inspect"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/unsquash"
)

// said is what the image that a person names says of itself. It need not run here.
func (w *workshop) said(ctx context.Context, ref string) (contract.Attributes, error) {
	path := strings.TrimPrefix(ref, "sif://")
	if scheme, _, known := source.Scheme(path); known && scheme == "" {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			return w.directorySays(path)
		}
		if err == nil {
			return w.fileSays(path)
		}
	}
	img, err := w.findImage(ctx, ref)
	if err != nil {
		return contract.Attributes{}, err
	}
	if img.Path != "" {
		return w.fileSays(img.Path)
	}
	return w.imageSays(img), nil
}

func (w *workshop) directorySays(dir string) (contract.Attributes, error) {
	root, err := inspect.OpenDirectory(dir)
	if err != nil {
		return contract.Attributes{}, fmt.Errorf("image %s: %w", dir, unwrapPath(err))
	}
	defer root.Close() //nolint:errcheck // read only
	said, made, problems := inspect.Found(root)
	w.complain(problems)
	if !made {
		return said, fmt.Errorf("image %s: a directory without /.singularity.d is no image of Singularity's", dir)
	}
	return said, nil
}

func (w *workshop) complain(problems []error) {
	for _, problem := range problems {
		warn(w.stderr, "%v", problem)
	}
}

// fileSays reads a SIF file.
func (w *workshop) fileSays(path string) (contract.Attributes, error) {
	f, err := sif.Open(path)
	if why := unwrapPath(err); why != err { //nolint:errorlint // whether it names the file
		return contract.Attributes{}, fmt.Errorf("image %s: %w", path, why)
	}
	if err != nil {
		return contract.Attributes{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	said, ok, err := inspect.Recorded(f)
	found, imageErr := f.Image()
	img := image.Image{Native: found.Native, Config: image.Config(found.Config)}
	for _, e := range found.Extents {
		img.Extents = append(img.Extents, image.Extent{Path: path, Offset: e.Offset, Size: e.Size, FS: e.FS})
	}
	switch {
	case err != nil:
		warn(w.stderr, "%s: %v", path, err)
	case ok && len(said.Apps) == 0 && imageErr == nil:
		// Not everybody who makes images lists their apps.
		trees, _, closeAll := openTrees(img.Extents)
		defer closeAll()
		found, _, _ := inspect.Found(trees)
		said.Apps = found.Apps
		return said, nil
	case ok:
		return said, nil
	}
	if imageErr != nil {
		return contract.Attributes{}, fmt.Errorf("%s: %w", path, imageErr)
	}
	said = w.imageSays(img)
	if said.Deffile == "" {
		said.Deffile, err = f.Definition()
	}
	if len(said.Labels) == 0 && err == nil {
		said.Labels, err = f.Labels()
	}
	return said, err
}

// imageSays reads the file systems of an image. One that Singularity has not made says
// what a SIF file made of it would.
func (w *workshop) imageSays(img image.Image) contract.Attributes {
	trees, problems, closeAll := openTrees(img.Extents)
	defer closeAll()
	said, made, more := inspect.Found(trees)
	w.complain(append(problems, more...))
	if made {
		return said
	}
	run, env := contract.Process{Entrypoint: img.Config.Entrypoint, Cmd: img.Config.Cmd, Env: img.Config.Env}.Scripts()
	return contract.Attributes{
		Labels: img.Config.Labels, Runscript: run, Apps: said.Apps,
		Environment: map[string]string{"/.singularity.d/env/10-docker2singularity.sh": env},
	}
}

// noTestScript is what Singularity says of an image without one.
const noTestScript = "No test script found in container, exiting"

// withoutScripts says that an image has none of Singularity's: it would run what it
// runs otherwise.
func withoutScripts(img image.Image) bool {
	trees, problems, closeAll := openTrees(img.Extents)
	defer closeAll()
	return problems == nil && !inspect.Scripted(trees)
}

// openTrees opens the file systems of an image, lowest first, as far as they can be read.
func openTrees(extents []image.Extent) (trees inspect.Stack, problems []error, closeAll func()) {
	var open []io.Closer
	for _, e := range extents {
		tree, closer, err := openTree(e)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", e.Path, err))
			continue
		}
		trees, open = append(trees, tree), append(open, closer)
	}
	return trees, problems, func() {
		for _, c := range open {
			_ = c.Close() // read only
		}
	}
}

func openTree(e image.Extent) (inspect.Tree, io.Closer, error) {
	switch e.FS {
	case "directory":
		d, err := inspect.OpenDirectory(e.Path)
		return d, d, err
	case "squashfs":
		f, err := os.Open(e.Path)
		if err != nil {
			return nil, nil, unwrapPath(err)
		}
		r, err := unsquash.NewReader(io.NewSectionReader(f, e.Offset, e.Size), e.Size)
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return r, f, nil
	default:
		return nil, nil, fmt.Errorf("the file system in it is %s, which can't be looked into without running it", e.FS)
	}
}

// onTerminal says that a person reads along.
func onTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// writeSafeJSON is writeJSON for what strangers wrote: what a terminal obeys, and JSON
// lets pass, is escaped too.
func writeSafeJSON(out io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('\n')
	_, err = io.WriteString(out, b.String())
	return err
}
