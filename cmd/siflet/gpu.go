package main

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	_ "embed" // the lists
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/cdi"
)

// Names of programs and libraries, one a line, that GPUs need of the host. Who has
// lists of Singularity's or of their own in /etc is asked first.
var (
	//go:embed nvliblist.conf
	nvList string
	//go:embed rocmliblist.conf
	rocmList string
)

const (
	librariesDir = "/.singularity.d/libs"
	allNvidia    = "nvidia.com/gpu=all"
)

// gpus adds what --nv and --rocm ask for. What is missing is warned about: there may
// be no GPU, and much works without.
func (o *actionOptions) gpus(ctx context.Context, warnings io.Writer, spec *runtime.ContainerSpec) {
	switch {
	case o.nv && o.rocm:
		warn(warnings, "--nv and --rocm cannot be used together. Only --nv will be applied.")
		fallthrough
	case o.nv:
		if cdi.Known(o.cdiDirs, allNvidia) {
			if !slices.Contains(spec.CDI, allNvidia) {
				spec.CDI = append(spec.CDI, allNvidia)
			}
			return
		}
		o.gpuNodes(warnings, spec, "/dev/nvidia*")
		o.gpuFiles(ctx, warnings, spec, "nv", gpuList("nvliblist.conf", nvList), "/var/run/nvidia-persistenced/socket")
	case o.rocm:
		o.gpuNodes(warnings, spec, "/dev/dri", "/dev/kfd")
		o.gpuFiles(ctx, warnings, spec, "rocm", gpuList("rocmliblist.conf", rocmList))
	}
}

// gpuNodes adds devices to a /dev that is not the host's.
func (o *actionOptions) gpuNodes(warnings io.Writer, spec *runtime.ContainerSpec, patterns ...string) {
	if !o.contain || o.left("dev") {
		return
	}
	for _, pattern := range patterns {
		names, _ := filepath.Glob(pattern) // it is a pattern
		for _, name := range names {
			found, err := runtime.Devices(name, "")
			if err != nil {
				warn(warnings, "%v", err)
				continue
			}
			spec.Devices = append(spec.Devices, found...)
		}
	}
}

// gpuFiles binds the host's programs, sockets and libraries.
func (o *actionOptions) gpuFiles(ctx context.Context, warnings io.Writer, spec *runtime.ContainerSpec, platform string, names []string, sockets ...string) {
	libraries, programs, err := findFiles(ctx, names)
	if err != nil {
		warn(warnings, "While finding %s bind points: %v", platform, err)
	}
	bind := func(source, target string) {
		spec.Mounts = append(spec.Mounts, runtime.Mount{Source: source, Target: target, NoSuid: true, NoDev: true})
	}
	found := false
	for _, program := range programs {
		bind(program, "/usr/bin/"+filepath.Base(program))
		found = true
	}
	for _, socket := range sockets {
		if _, err := os.Stat(socket); err == nil {
			bind(socket, socket)
			found = true
		}
	}
	if !found {
		warn(warnings, "Could not find any %s files on this host!", platform)
	}
	if len(libraries) == 0 {
		warn(warnings, "Could not find any %s libraries on this host!", platform)
	}
	for _, library := range libraries {
		bind(library, filepath.Join(librariesDir, filepath.Base(library)))
	}
}

// gpuList is a list of the host's, or the one that siflet brings.
func gpuList(name, own string) []string {
	text := []byte(own)
	for _, dir := range []string{"/etc/siflet", "/etc/singularity", "/usr/local/etc/singularity", "/etc/apptainer"} {
		if found, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			text = found
			break
		}
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names
}

// findFiles looks for programs in the PATH and for libraries, whose names hold ".so", in
// the dynamic loader's cache: those for this machine that begin so.
func findFiles(ctx context.Context, names []string) (libraries, programs []string, err error) {
	cache, err := loaderCache(ctx)
	for _, name := range names {
		switch {
		case !strings.Contains(name, ".so"):
			if program, err := exec.LookPath(name); err == nil && filepath.IsAbs(program) {
				programs = append(programs, program)
			}
		case filepath.IsAbs(name):
			if !slices.Contains(libraries, name) && ownMachine(name) {
				libraries = append(libraries, name)
			}
		default:
			for _, l := range cache {
				if strings.HasPrefix(l.name, name) && !slices.Contains(libraries, l.path) && ownMachine(l.path) {
					libraries = append(libraries, l.path)
				}
			}
		}
	}
	return libraries, programs, err
}

type library struct{ name, path string }

// loaderCache is what ldconfig knows; of several libraries of one name the first counts.
func loaderCache(ctx context.Context) ([]library, error) {
	program, err := exec.LookPath("ldconfig")
	for _, place := range []string{"/sbin/ldconfig", "/usr/sbin/ldconfig"} {
		if err != nil {
			program, err = exec.LookPath(place)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ldconfig, which knows where libraries are: %w", err)
	}
	text, err := exec.CommandContext(ctx, program, "-p").Output()
	if err != nil {
		return nil, fmt.Errorf("%s -p: %w", program, err)
	}
	var all []library
	seen := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		// libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1
		left, path, found := strings.Cut(lines.Text(), " => ")
		name, _, _ := strings.Cut(strings.TrimSpace(left), " ")
		if path = strings.TrimSpace(path); found && !seen[name] && filepath.IsAbs(path) {
			seen[name] = true
			all = append(all, library{name, path})
		}
	}
	return all, nil
}

// ownMachine says whether an ELF file is for the processor that runs this.
func ownMachine(name string) bool {
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		return false
	}
	defer self.Close() //nolint:errcheck // read only
	file, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // read only
	return file.Machine == self.Machine && file.Class == self.Class
}

// withLibraries adds the host's libraries to an environment, which goes before the image's,
// where no script of the image does so.
func (o *actionOptions) withLibraries(env, image []string) []string {
	if !o.nv && !o.rocm {
		return env
	}
	const name = "LD_LIBRARY_PATH="
	dirs := librariesDir
	for _, entry := range slices.Concat(image, env) { // the last counts
		if value, found := strings.CutPrefix(entry, name); found && value != "" {
			dirs = value + ":" + librariesDir
		}
	}
	return append(slices.Clip(env), name+dirs)
}
