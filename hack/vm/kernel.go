package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const metaPackage = "linux-image-cloud-amd64"

// kernel is an unpacked kernel package.
type kernel struct {
	image   string            // vmlinuz
	modules map[string]string // file by name, with "_" for "-"
}

// findKernel is the kernel in the cache, fetched if there is none.
func findKernel(ctx context.Context) (kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return kernel{}, err
	}
	cache = filepath.Join(cache, "siflet", "kernel")
	have, err := filepath.Glob(filepath.Join(cache, "linux-image-*", "boot", "vmlinuz-*"))
	if err != nil {
		return kernel{}, err
	}
	if len(have) == 0 {
		if err := fetchKernel(ctx, cache); err != nil {
			return kernel{}, fmt.Errorf("fetch %s: %w", metaPackage, err)
		}
		if have, err = filepath.Glob(filepath.Join(cache, "linux-image-*", "boot", "vmlinuz-*")); err != nil {
			return kernel{}, err
		}
	}
	if len(have) == 0 {
		return kernel{}, fmt.Errorf("no kernel in %s", cache)
	}
	k := kernel{image: slices.Max(have), modules: map[string]string{}}
	root := filepath.Dir(filepath.Dir(k.image))
	err = filepath.WalkDir(filepath.Join(root, "lib", "modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			k.modules[moduleName(name)] = path
		}
		return err
	})
	return k, err
}

// fetchKernel downloads the package that the meta package depends on and
// unpacks it below the cache.
func fetchKernel(ctx context.Context, cache string) error {
	name := kernelPackage(ctx)
	if name == "" {
		if out, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get update: %w: %s", err, out)
		}
		name = kernelPackage(ctx)
	}
	if name == "" {
		return errors.New("apt knows no kernel")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cache, ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // What is left there is only cache.
	if err := download(ctx, dir, name); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages", name, len(debs))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], filepath.Join(dir, "root")).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", debs[0], err, out)
	}
	to := filepath.Join(cache, strings.TrimSuffix(filepath.Base(debs[0]), ".deb"))
	if err := os.Rename(filepath.Join(dir, "root"), to); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// kernelPackage is the package that the meta package stands for, or "" where
// apt does not know it: it was never told what there is.
func kernelPackage(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", metaPackage).Output()
	if err != nil {
		return ""
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "linux-image-") && word != metaPackage {
			return word
		}
	}
	return ""
}

// download puts a package into a directory. What apt knows may be older than
// what there is: it then asks anew, once.
func download(ctx context.Context, dir, name string) error {
	get := func() ([]byte, error) {
		cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	if _, err := get(); err == nil {
		return nil
	}
	if text, err := exec.CommandContext(ctx, "apt-get", "update", "-q").CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get update: %w: %s", err, text)
	}
	if out, err := get(); err != nil {
		return fmt.Errorf("apt-get download %s: %w: %s", name, err, out)
	}
	return nil
}

// withDependencies is the files of the named modules and all they need, in the
// order to load them. A name that is no module is taken to be built in.
func (k kernel) withDependencies(names []string) ([]string, error) {
	var order []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		file, ok := k.modules[name]
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		needs, err := dependencies(file)
		if err != nil {
			return fmt.Errorf("kernel module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		order = append(order, file)
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies reads what a module says it needs.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // Opened for reading.
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			names = append(names, strings.Split(list, ",")...)
		}
		// Soft dependencies are what the module would ask modprobe for.
		if list, ok := strings.CutPrefix(field, "softdep=pre: "); ok {
			names = append(names, strings.Fields(list)...)
		}
	}
	return names, nil
}

func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }
