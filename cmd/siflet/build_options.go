package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime/definition"
)

// buildOptions are the flags of build; names and meaning are Singularity's.
type buildOptions struct {
	force, sandbox, update, noTest, fixPerms, keep bool
	reproducible                                   bool
	only                                           []string
	buildArgs, argFiles                            []string
	binds, mounts                                  []string
	tmp                                            string
	disableCache                                   bool
	nv, rocm                                       bool
	// pull has what says how a base is fetched.
	pull pullOptions
	// epoch is what a reproducible build has for its time; zero is 1970.
	epoch time.Time
}

func (o *buildOptions) register(f *pflag.FlagSet) {
	f.BoolVarP(&o.force, "force", "F", false, "replace the image if it is there")
	f.BoolVarP(&o.sandbox, "sandbox", "s", false, "build a directory")
	f.BoolVarP(&o.update, "update", "u", false, "run the definition's sections on the sandbox that is there")
	f.BoolVarP(&o.noTest, "notest", "T", false, "leave out %test")
	f.StringSliceVar(&o.only, "section", nil, "run these sections only: setup, post, files, environment, test, labels, ..., or none")
	f.StringArrayVar(&o.buildArgs, "build-arg", nil, "a value for {{ NAME }} in the definition file: NAME=VALUE")
	f.StringArrayVar(&o.argFiles, "build-arg-file", nil, "a file with such values, one in a line")
	f.StringArrayVarP(&o.binds, "bind", "B", nil, "bind SRC[:DEST[:ro|rw]] for %post, %appinstall and %test")
	f.StringArrayVar(&o.mounts, "mount", nil, "mount type=bind,source=SRC,destination=DEST[,ro] for them")
	f.BoolVar(&o.nv, "nv", false, "bring the machine's NVIDIA drivers for %post")
	f.BoolVar(&o.rocm, "rocm", false, "bring the machine's ROCm drivers for %post")
	f.BoolVar(&o.fixPerms, "fix-perms", false, "let the owner read and write everything in the image")
	f.BoolVar(&o.reproducible, "reproducible", false, "the same bytes from the same inputs; SOURCE_DATE_EPOCH is its time")
	f.BoolVar(&o.keep, "keep-on-failure", false, "keep the root file system of a build that fails")
	f.BoolVar(&o.keep, "no-cleanup", false, "the same as --keep-on-failure")
	f.StringVar(&o.tmp, "tmpdir", "", "directory for temporary files (default $TMPDIR, or /tmp)")
	f.BoolVar(&o.disableCache, "disable-cache", false, "don't keep the base image for the next build")
	f.StringVar(&o.pull.arch, "arch", "", "build for this architecture: amd64, arm64, ... (default this machine's)")
	f.StringVar(&o.pull.library, "library", "", "address of the library that library:// means")
	o.pull.registryFlags(f)
	o.registerOthers(f)
}

// refusedBuildFlags are the peers' flags that siflet does not have: the kind, the letter if any, the names.
func refusedBuildFlags() map[string][]string {
	return map[string][]string{
		"bool": {
			"encrypt e", "passphrase", "remote r", "detached d", "json", "oci", "nvccli", "writable-tmpfs", "userns", "keep-layers",
		},
		"value": {"pem-path", "builder", "docker-host", "mksquashfs-args", "platform"},
	}
}

// needlessBuildFlags are those that ask for what siflet does anyway.
func needlessBuildFlags() []string {
	return []string{
		"fakeroot f", "no-setgroups", "ignore-subuid", "ignore-fakeroot-command", "ignore-userns", "skip-verify", "warn-unused-build-args",
		"allow-unauthenticated",
	}
}

func (o *buildOptions) registerOthers(f *pflag.FlagSet) {
	for kind, entries := range refusedBuildFlags() {
		for _, entry := range entries {
			name, letter, _ := strings.Cut(entry, " ")
			if kind == "bool" {
				f.BoolP(name, letter, false, "")
			} else {
				f.String(name, "", "")
			}
			_ = f.MarkHidden(name)
		}
	}
	for _, entry := range needlessBuildFlags() {
		name, letter, _ := strings.Cut(entry, " ")
		f.BoolP(name, letter, false, "")
		_ = f.MarkHidden(name)
	}
	_ = f.MarkHidden("no-cleanup")
}

// settle reads what flags left out from the environment and finds what can't be meant.
func (o *buildOptions) settle(cmd *cobra.Command) error {
	f := cmd.Flags()
	fromEnvironment := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, name := range []string{
		"force", "sandbox", "update", "notest", "section", "bind", "mount", "nv", "rocm", "fix-perms", "tmpdir", "disable-cache", "no-https",
		"docker-username", "docker-password", "arch", "library", "fakeroot", "build-arg-file",
	} {
		fromEnvironment.AddFlag(f.Lookup(name))
	}
	if err := flagsFromEnvironment(fromEnvironment, os.LookupEnv); err != nil {
		return err
	}
	for _, entries := range refusedBuildFlags() {
		for _, entry := range entries {
			name, _, _ := strings.Cut(entry, " ")
			if flag := f.Lookup(name); flag.Changed && flag.Value.String() != "false" {
				return fmt.Errorf("--%s is not supported yet; leave it out", name)
			}
		}
	}
	if o.update && !o.sandbox {
		return usageError{text: "only a sandbox can be updated: give --sandbox too"}
	}
	for i, name := range o.only {
		o.only[i] = strings.TrimPrefix(strings.ToLower(name), "%")
		if !slices.Contains(sectionNames(), o.only[i]) {
			return usageError{text: fmt.Sprintf("--section %q: want some of %s", name, strings.Join(sectionNames(), ", "))}
		}
	}
	if o.pull.auth != "" {
		if err := readableFile(o.pull.auth); err != nil {
			return fmt.Errorf("--authfile %s: %w", o.pull.auth, unwrapPath(err))
		}
	}
	var err error
	if o.tmp != "" {
		if o.tmp, err = filepath.Abs(o.tmp); err != nil {
			return err
		}
	}
	return o.settleTime()
}

// settleTime finds the time of a reproducible build. Who sets SOURCE_DATE_EPOCH wants one.
func (o *buildOptions) settleTime() error {
	text, set := os.LookupEnv("SOURCE_DATE_EPOCH")
	if !set || text == "" {
		return nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return fmt.Errorf("SOURCE_DATE_EPOCH %q: want seconds since 1970, a number that is not negative", text)
	}
	// The label says no other time than the files, whose times end there in an image.
	o.epoch, o.reproducible = time.Unix(min(seconds, math.MaxUint32), 0), true
	return nil
}

// epochText is the time of a reproducible build as programs take it.
func (o *buildOptions) epochText() string { return strconv.FormatInt(max(o.epoch.Unix(), 0), 10) }

func sectionNames() []string {
	return []string{"all", "none", "pre", "setup", "files", "post", "appinstall", "environment", "runscript", "startscript", "labels", "help", "test"}
}

// sections are those to run, nil for all.
func (o *buildOptions) sections() []string {
	if len(o.only) == 0 || slices.Contains(o.only, "all") {
		return nil
	}
	if slices.Contains(o.only, "none") {
		return []string{}
	}
	return o.only
}

// arguments are the values for a definition file: of files, then of flags.
func (o *buildOptions) arguments() (map[string]string, error) {
	all := map[string]string{}
	for _, name := range o.argFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--build-arg-file %s: %w", name, unwrapPath(err))
		}
		some, err := definition.ReadArguments(name, text)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, some)
	}
	for _, text := range o.buildArgs {
		name, value, err := definition.ReadArgument(text)
		if err != nil {
			return nil, usageError{text: fmt.Sprintf("--build-arg %q: %v", text, err)}
		}
		all[name] = value
	}
	return all, nil
}

// temporary is where the build is carried out.
func (o *buildOptions) temporary() string {
	if o.tmp != "" {
		return o.tmp
	}
	return os.TempDir()
}

// foreign says that the image is for another machine than this one.
func (o *buildOptions) foreign() bool { return o.pull.arch != "" && o.pull.arch != goruntime.GOARCH }
