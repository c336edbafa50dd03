package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/build"
	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/trust"
)

// maxDefinition bounds what is read of a definition file.
const maxDefinition = 4 << 20

func parseDefinition(r io.Reader, name string, args map[string]string) (*definition.Definition, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDefinition+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, unwrapPath(err))
	}
	return definition.Parse(name, text, args)
}

// isImage says that a file is a SIF, squashfs or ext3 file system.
func isImage(path string) (bool, error) {
	kind, err := imageKind(path)
	return kind != "", err
}

// imageKind is "sif", "squashfs", "ext3" or empty.
func imageKind(path string) (string, error) {
	// Opening a pipe would wait for a writer.
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()            //nolint:errcheck // read only
	head := make([]byte, 2048) //nolint:mnd // the superblock of ext3 is from 1024 on
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	text := string(head[:n])
	switch {
	case len(text) > 41 && text[32:41] == "SIF_MAGIC":
		return "sif", nil
	case strings.HasPrefix(text, "hsqs"):
		return "squashfs", nil
	case len(text) == len(head) && text[1080:1082] == "\x53\xef":
		return "ext3", nil
	}
	return "", nil
}

// base finds what a stage begins with.
func (j *job) base(ctx context.Context, s *definition.Stage) (build.Base, error) {
	if j.o.update && s == &j.stages[len(j.stages)-1] {
		return build.Base{Layers: []build.Layer{{Path: j.output, FS: "directory"}}}, nil
	}
	h := s.Header
	from := h.From()
	switch agent := h.Bootstrap(); agent {
	case "":
		return build.Base{}, errors.New("the definition file has no header: there is nothing to begin with; say what to build from, with Bootstrap and From")
	case "scratch":
		return build.Base{Arch: j.o.pull.arch}, nil
	case "localimage":
		return j.localBase(ctx, from, h)
	case "docker", "oras", "library", "https", "http":
		return j.pulledBase(ctx, agent+"://"+registered(h, strings.TrimPrefix(from, agent+"://")), h)
	case "docker-archive", "oci-archive", "oci":
		return j.pulledBase(ctx, agent+":"+from, h)
	case "docker-daemon":
		return build.Base{}, fmt.Errorf("bootstrap: docker-daemon is not supported; save the image first, docker save -o image.tar %s, and say Bootstrap: docker-archive, From: image.tar", from)
	case "shub":
		return build.Base{}, errors.New("bootstrap: shub is not supported: Singularity Hub is gone; the image may be at datasets.datalad.org")
	default:
		return j.installedBase(s)
	}
}

// registered is an image's name with the registry and the namespace that a header names.
func registered(h definition.Header, from string) string {
	for _, key := range []string{"namespace", "registry"} {
		if value := strings.Trim(h.Value(key), "/"); value != "" {
			_, value, _ = cutScheme(value)
			from = value + "/" + strings.TrimPrefix(from, "//")
		}
	}
	return strings.TrimPrefix(from, "//")
}

func cutScheme(address string) (scheme, rest string, found bool) {
	if scheme, rest, found = strings.Cut(address, "://"); found {
		return scheme, rest, true
	}
	return "", address, false
}

// localBase is an image in a file, or a directory.
func (j *job) localBase(ctx context.Context, path string, h definition.Header) (build.Base, error) {
	path = strings.TrimPrefix(path, "sif://")
	abs := path
	if !filepath.IsAbs(path) {
		abs = filepath.Join(j.cwd, path)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return build.Base{}, fmt.Errorf("image %s: %w", path, unwrapPath(err))
	}
	if info.IsDir() {
		return build.Base{Layers: []build.Layer{{Path: abs, FS: "directory"}}}, j.unsignable(h)
	}
	kind, err := imageKind(abs)
	switch {
	case err != nil:
		return build.Base{}, fmt.Errorf("image %s: %w", path, unwrapPath(err))
	case kind == "":
		return build.Base{}, fmt.Errorf("image %s: it is no image: want a SIF file, a squashfs or ext3 file system, or a sandbox's directory", path)
	case kind != "sif":
		return build.Base{Layers: []build.Layer{{Path: abs, Size: info.Size(), FS: kind}}}, j.unsignable(h)
	}
	found, err := image.FileFor(abs, j.o.pull.arch)
	if err != nil {
		return build.Base{}, err
	}
	found.References = []string{abs}
	return j.imageBase(ctx, found, h)
}

// pulledBase is an image from a registry, a library, a web server or an archive. It stays in
// the caller's store, so that the next build finds it there.
func (j *job) pulledBase(ctx context.Context, uri string, h definition.Header) (build.Base, error) {
	pull := j.o.pull
	pull.tmp = j.work.dir
	if library := h.Value("library"); library != "" && pull.library == "" {
		pull.library = library
	}
	from, err := j.pullSources(ctx, uri, j.work.dir, pull)
	if err != nil {
		return build.Base{}, err
	}
	store, err := j.baseStore(from, pull) //nolint:contextcheck // it takes milliseconds
	if err != nil {
		return build.Base{}, err
	}
	bar := newProgress(j.stderr)
	found, err := store.Fresh(ctx, uri, image.PullOptions{Auth: from.options.Auth, Progress: bar.show})
	bar.end()
	if err != nil {
		return build.Base{}, err
	}
	return j.imageBase(ctx, found, h)
}

// baseStore is the caller's, or one that goes with the build.
func (j *job) baseStore(from pullSource, pull pullOptions) (*image.Store, error) {
	o := image.Options{
		Registry: from.options.Registry, Library: pull.library, Policy: from.policy, Log: j.logger(), Arch: pull.arch,
	}
	if j.o.disableCache || j.o.foreign() {
		return openStore(filepath.Join(j.work.dir, "images"), o)
	}
	r, err := callerRoots()
	if err != nil {
		return nil, err
	}
	return openStore(filepath.Join(r.state, "images"), o)
}

// imageBase is an image as a base, if the policy lets it be used.
func (j *job) imageBase(ctx context.Context, found image.Image, h definition.Header) (build.Base, error) {
	err := j.trust().Check(ctx, trust.Subject{
		References: found.Names(), ID: found.ID, Path: found.Path, Manifests: found.Manifests, Signatures: found.Signatures,
	})
	if err != nil {
		return build.Base{}, fmt.Errorf("image %s: %w", imageName(found), err)
	}
	if err := j.signed(ctx, found, h); err != nil {
		return build.Base{}, err
	}
	b := build.Base{Arch: found.Arch}
	for _, e := range found.Extents {
		b.Layers = append(b.Layers, build.Layer{Path: e.Path, Offset: e.Offset, Size: e.Size, FS: e.FS})
	}
	b.Config, err = innerConfig(found)
	return b, err
}

// innerConfig is what the config of an OCI image says of its containers, nil for other images.
func innerConfig(i image.Image) (json.RawMessage, error) {
	if len(i.Inner) > 0 {
		return i.Inner, nil
	}
	if i.Native && i.Path != "" {
		f, err := sif.Open(i.Path)
		if err != nil {
			return nil, err
		}
		text, err := f.Document("oci-config.json")
		return text, errors.Join(err, f.Close())
	}
	if i.Native {
		return nil, nil
	}
	// What is known of it.
	set := func(names []string) map[string]struct{} {
		if len(names) == 0 {
			return nil
		}
		all := map[string]struct{}{}
		for _, name := range names {
			all[name] = struct{}{}
		}
		return all
	}
	c := i.Config
	return json.Marshal(struct {
		User         string              `json:",omitempty"`
		ExposedPorts map[string]struct{} `json:",omitempty"`
		Env          []string            `json:",omitempty"`
		Entrypoint   []string            `json:",omitempty"`
		Cmd          []string            `json:",omitempty"`
		Volumes      map[string]struct{} `json:",omitempty"`
		WorkingDir   string              `json:",omitempty"`
		Labels       map[string]string   `json:",omitempty"`
		StopSignal   string              `json:",omitempty"`
	}{c.User, set(c.ExposedPorts), c.Env, c.Entrypoint, c.Cmd, set(c.Volumes), c.WorkingDir, c.Labels, c.StopSignal})
}
