package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime/publish"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
)

// pushOptions are the flags of push; the registry's are those of pull.
type pushOptions struct {
	pullOptions

	format, description string
}

// The forms in which an image's file systems are pushed.
const (
	formatSquashfs = "squashfs"
	formatTar      = "tar"
)

func (w *workshop) pushCommand() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use: "push [flags] FILE URI", Short: "push a SIF file to a registry",
		Long: "Push a SIF file to a registry, and print by which digest it is to be had there.\n\n" +
			"  oras://HOST/NAME:TAG     the file as it is, signatures and all: what is pulled is the same, byte by byte\n" +
			"  docker://HOST/NAME:TAG   an image. An OCI-SIF keeps its layers, which are file systems that Singularity,\n" +
			"                           Apptainer and siflet know; with --layer-format tar, and of every other SIF\n" +
			"                           file, layers are made that every runtime knows. Signatures stay behind.\n\n" +
			"What the registry has already is not sent, and an upload that breaks off goes on where it was.\n" +
			"Credentials are those of siflet registry login.",
		Example: "  siflet push web.sif oras://registry.example.org/team/web:1",
		Args:    exactly(2, "want a SIF file and where to push it: oras://HOST/NAME:TAG or docker://HOST/NAME:TAG"), //nolint:mnd // those two
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd.Flags()); err != nil {
				return err
			}
			return w.push(cmd.Context(), cmd.OutOrStdout(), args[0], args[1], o)
		},
	}
	o.flags(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("layer-format", cobra.FixedCompletions([]string{formatSquashfs, formatTar}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// pushVariables are the flags that variables set.
func pushVariables() []string {
	return []string{"no-https", "tmpdir", "docker-username", "docker-password", "layer-format"}
}

func (o *pushOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.format, "layer-format", "", "how an OCI-SIF's layers are pushed to docker://: squashfs (as they are; the default) or tar")
	f.StringVar(&o.tmp, "tmpdir", "", "directory for temporary files")
	o.registryFlags(f)
	// Those of Singularity for libraries, which mean nothing to registries.
	f.BoolP("allow-unsigned", "U", false, "")
	f.StringVarP(&o.description, "description", "D", "", "")
	f.String("library", "", "")
	f.Bool("with-cosign", false, "")
	for _, name := range []string{"allow-unsigned", "description", "library", "with-cosign"} {
		_ = f.MarkHidden(name)
	}
}

func (o *pushOptions) complete(f *pflag.FlagSet) error {
	fromEnvironment := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range pushVariables() {
		fromEnvironment.AddFlag(f.Lookup(name))
	}
	if err := flagsFromEnvironment(fromEnvironment, os.LookupEnv); err != nil {
		return err
	}
	if !slices.Contains([]string{"", formatSquashfs, formatTar}, o.format) {
		return usageError{text: fmt.Sprintf("--layer-format %q: want squashfs or tar", o.format)}
	}
	if f.Changed("with-cosign") {
		return errors.New("--with-cosign is not supported yet; leave it out")
	}
	return o.usable()
}

// pushed says where to push and whether as an image.
func pushed(uri string) (ref registry.Reference, asImage bool, err error) {
	scheme, rest, _ := source.Scheme(uri)
	switch scheme {
	case "oras":
	case "docker":
		asImage = true
	case "library":
		return ref, false, errors.New("pushing to a library is not supported; push to a registry: oras://HOST/NAME:TAG")
	default:
		return ref, false, usageError{text: source.Shown(uri) + ": want oras://HOST/NAME:TAG or docker://HOST/NAME:TAG"}
	}
	ref, err = registry.ParseReference(strings.TrimPrefix(rest, "//"))
	if err == nil && ref.Digest != "" {
		err = usageError{text: "what is pushed gets a digest by itself; give a tag"}
	}
	return ref, asImage, err
}

func (w *workshop) push(ctx context.Context, out io.Writer, path, uri string, o pushOptions) (err error) {
	ref, asImage, err := pushed(uri)
	if err != nil {
		return err
	}
	if o.description != "" {
		warn(w.stderr, "a description is for a library; it is left out")
	}
	f, err := openSIF(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	ctx, stop := toldToStop(ctx)
	defer stop()
	if o.tmp == "" {
		o.tmp = os.TempDir()
	}
	scratch, err := newScratch(o.tmp)
	if err != nil {
		return temporaryFailure(o.tmp, err)
	}
	defer func() { err = errors.Join(err, scratch.remove()) }()
	from, err := w.pullSources(ctx, uri, scratch.dir, o.pullOptions)
	if err != nil {
		return err
	}
	image, done, err := w.published(ctx, f, path, scratch.dir, asImage, o)
	if err == nil {
		err = errors.Join(w.upload(ctx, from.options, ref, image), done())
	}
	if ctx.Err() != nil {
		return messageError{text: "INFO:    stopped; nothing has got the name", code: exitInterrupted}
	}
	if failed, ok := errors.AsType[*os.PathError](err); ok && isWithin(scratch.dir, failed.Path) {
		return temporaryFailure(o.tmp, failed)
	}
	if err != nil {
		return fmt.Errorf("push %s: %w", source.Shown(uri), err)
	}
	info(w.stderr, "Upload complete")
	_, err = fmt.Fprintf(out, "%s@%s\n", ref.Name(), image.Digest())
	return err
}

// published is what to push of a file. done ends the use of it.
func (w *workshop) published(ctx context.Context, f *sif.File, path, scratch string, asImage bool, o pushOptions) (image publish.Image, done func() error, err error) {
	switch {
	case asImage && f.IsOCI() && o.format != formatTar:
		image, err = publish.OCI(f)
		return image, func() error { return nil }, err
	case asImage && !f.IsOCI() && o.format == formatSquashfs:
		return image, nil, errors.New("only an OCI-SIF has layers that can be pushed as they are; leave out --layer-format, or push to oras://")
	case asImage:
		if signed(f) {
			warn(w.stderr, "the signatures of %s are of the file, and are not pushed; oras:// keeps them", path)
		}
		info(w.stderr, "Making layers of %s...", path)
		layered, err := publish.Layers(ctx, f, scratch)
		if err != nil {
			return image, nil, err
		}
		return layered.Image, layered.Close, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return image, nil, unwrapPath(err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		image, err = publish.Artifact(ctx, file, size, filepath.Base(path), nil)
	}
	if err != nil {
		return image, nil, errors.Join(err, file.Close())
	}
	return image, file.Close, nil
}

func signed(f *sif.File) bool {
	return slices.ContainsFunc(f.Descriptors, func(d sif.Descriptor) bool { return d.Type == sif.TypeSignature })
}

// upload brings the blobs there, then the manifest, which gives them a name.
func (w *workshop) upload(ctx context.Context, o source.Options, ref registry.Reference, image publish.Image) error {
	bar := newProgress(w.stderr)
	defer bar.end()
	before, total := int64(0), image.Size()
	for _, b := range image.Blobs {
		err := o.Registry.PushBlob(ctx, ref, b.Descriptor, b.Data, o.Auth, func(at int64) { bar.show(before+at, total) })
		if err != nil {
			return err
		}
		before += b.Size
	}
	return o.Registry.PushManifest(ctx, ref, image.MediaType, image.Manifest, o.Auth)
}
