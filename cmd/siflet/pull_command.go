package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime/convert"
	"github.com/siflet/siflet/runtime/source"
)

// pullOptions are the flags of pull.
type pullOptions struct {
	force, oci, noOCI, noHTTPS, login bool
	dir, name, tmp                    string
	arch, platform, library           string
	username, password, auth          string
}

func (w *workshop) pullCommand() *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use: "pull [OUTPUT] URI", Short: "write an image to a SIF file",
		Long: "Write an image to a SIF file that Singularity and Apptainer run too.\n\n" +
			"Docker and OCI images become a flat SIF, with --oci an OCI-SIF that keeps their layers;\n" +
			"what is a SIF file already stays as it is, and an image whose layers are file systems already\n" +
			"becomes an OCI-SIF without --oci too. The name of the output is made of the\n" +
			"image's if it is left out, and printed. The same image gives the same bytes.\n\n" +
			"  docker://NAME, or NAME       a registry's image, or a SIF file stored in a registry\n" +
			"  oras://NAME                  a SIF file stored in a registry\n" +
			"  library://NAME               a SIF file from a library\n" +
			"  https://HOST/PATH            a SIF file from a web server\n" +
			"  docker-archive:FILE[:NAME]   what docker save writes\n" +
			"  oci-archive:FILE[:NAME], oci:DIR[:NAME]   an OCI image layout",
		Example: "  siflet pull docker://debian:12\n  siflet pull web.sif docker://nginx",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{text: "want an image, and at most a file to write it to"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(cmd.Flags()); err != nil {
				return err
			}
			return w.pull(cmd.Context(), cmd.OutOrStdout(), args, o)
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// registryFlags are those of all commands that talk to registries.
func (o *pullOptions) registryFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.noHTTPS, "no-https", false, "talk to the registry in plain HTTP")
	f.BoolVar(&o.login, "docker-login", false, "ask for a user name and a password of the registry")
	f.StringVar(&o.username, "docker-username", "", "user name at the registry")
	f.StringVar(&o.password, "docker-password", "", "password at the registry; SIFLET_DOCKER_PASSWORD keeps it from other users' eyes")
	f.StringVar(&o.auth, "authfile", "", "file with credentials, as Docker's config.json")
}

func (o *pullOptions) flags(f *pflag.FlagSet) {
	f.BoolVarP(&o.force, "force", "F", false, "replace the output if it is there")
	f.BoolVar(&o.oci, "oci", false, "write an OCI-SIF, which keeps the layers")
	f.StringVar(&o.dir, "dir", "", "write the output to this directory")
	f.StringVar(&o.name, "name", "", "name of the output")
	f.StringVar(&o.tmp, "tmpdir", "", "directory for temporary files (default that of the output)")
	f.StringVar(&o.arch, "arch", "", "take the image for this architecture: amd64, arm64, ... (default this machine's)")
	f.StringVar(&o.platform, "platform", "", "take the image for this platform: linux/amd64, linux/arm64, ...")
	f.StringVar(&o.library, "library", "", "address of the library that library:// means")
	o.registryFlags(f)
	for _, name := range []string{"disable-cache", "keep-layers", "allow-unauthenticated"} {
		f.Bool(name, false, "")
		_ = f.MarkHidden(name)
	}
	f.BoolVar(&o.noOCI, "no-oci", false, "")
	f.BoolP("allow-unsigned", "U", false, "")
	for _, name := range []string{"no-oci", "allow-unsigned", "name", "platform"} {
		_ = f.MarkHidden(name)
	}
}

// pullVariables are the flags that variables set. Not all: SINGULARITY_NAME and its like are
// set in every container.
func pullVariables() []string {
	return []string{"no-https", "tmpdir", "arch", "platform", "library", "docker-username", "docker-password"}
}

// complete takes what no flag says from the environment and finds contradictions.
func (o *pullOptions) complete(f *pflag.FlagSet) error {
	fromEnvironment := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range pullVariables() {
		fromEnvironment.AddFlag(f.Lookup(name))
	}
	if err := flagsFromEnvironment(fromEnvironment, os.LookupEnv); err != nil {
		return err
	}
	if o.noOCI && o.oci {
		return usageError{text: "--oci and --no-oci contradict each other"}
	}
	if o.platform != "" {
		os, arch, _ := strings.Cut(o.platform, "/")
		arch, _, _ = strings.Cut(arch, "/")
		if os != "linux" || arch == "" {
			return usageError{text: fmt.Sprintf("--platform %q: want linux/ARCHITECTURE, such as linux/arm64", o.platform)}
		}
		if o.arch != "" && o.arch != arch {
			return usageError{text: fmt.Sprintf("--arch %s and --platform %s contradict each other", o.arch, o.platform)}
		}
		o.arch = arch
	}
	return nil
}

// pull writes an image and prints where. The output appears when it is complete
// and the policy lets it pass.
func (w *workshop) pull(ctx context.Context, out io.Writer, args []string, o pullOptions) (err error) {
	uri, output, err := o.places(args)
	if err != nil {
		return err
	}
	if err := errors.Join(needsScheme(uri), hereAlready(uri, "there is nothing to pull then: copy the file")); err != nil {
		return err
	}
	if err := o.usable(); err != nil {
		return err
	}
	if err := o.vacant(output); err != nil {
		return err
	}
	// Told to stop, it leaves nothing half written.
	ctx, stop := toldToStop(ctx)
	defer stop()
	scratch, err := newScratch(filepath.Dir(output))
	if err != nil {
		return noRoom(err, output)
	}
	defer func() { err = errors.Join(err, scratch.remove()) }()
	if o.tmp == "" {
		o.tmp = scratch.dir
	}
	made := filepath.Join(scratch.dir, "image.sif")
	err = w.makeSIF(ctx, uri, made, scratch.dir, o)
	if ctx.Err() != nil {
		return messageError{text: "INFO:    stopped; nothing was written", code: exitInterrupted}
	}
	if err != nil {
		return o.pullFailure(err, uri, output, scratch.dir)
	}
	if err := o.vacant(output); err != nil {
		return err
	}
	if err := grant(made, filepath.Join(scratch.dir, "mode")); err != nil {
		return fmt.Errorf("write %s: %w", output, unwrapPath(err))
	}
	if err := os.Rename(made, output); err != nil {
		return fmt.Errorf("write %s: %w", output, unwrapLink(err))
	}
	_, err = fmt.Fprintln(out, output)
	return err
}

// grant gives a file the rights that a program gets which is made where probe is: what
// the umask, or the directory's default ACL, leaves of all.
func grant(path, probe string) error {
	f, err := os.OpenFile(probe, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o777)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm())
}

// exitInterrupted is what a shell says of who died of SIGINT.
const exitInterrupted = 130

// makeSIF finds the image and writes it to path, if the policy allows.
func (w *workshop) makeSIF(ctx context.Context, uri, path, scratch string, o pullOptions) error {
	from, err := w.pullSources(ctx, uri, scratch, o)
	if err != nil {
		return err
	}
	image, err := source.Open(ctx, uri, from.options)
	if err != nil {
		return err
	}
	defer image.Blobs.Close() //nolint:errcheck // read only
	// A SIF file carries its signatures: it must be here to be checked.
	if image.SIF == nil {
		if err := from.check(ctx, image, ""); err != nil {
			return err
		}
	}
	bar := newProgress(w.stderr)
	write, err := o.form(w.stderr, image)
	if err != nil {
		return err
	}
	var lost convert.Lost
	err = write(ctx, image, path, convert.Options{Progress: bar.show, Spool: o.tmp, Lost: &lost})
	bar.end()
	if err == nil {
		warnLost(w.stderr, lost)
	}
	if err == nil && image.SIF != nil {
		err = from.check(ctx, image, path)
	}
	return err
}
