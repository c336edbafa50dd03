package main

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// libraryDirs are where Debian's loader looks without being told.
func libraryDirs() []string {
	return []string{
		"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/lib", "/usr/lib",
	}
}

// addProgram puts a program of the host into /usr/bin, or a file named by path
// where it is on the host, and the libraries that it is linked with beside the
// loader.
func addProgram(a *archive, name string) error {
	host, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	guest := host
	if !strings.Contains(name, "/") {
		guest = "/usr/bin/" + name
	}
	return addLinked(a, guest, host)
}

func addLinked(a *archive, guest, host string) error {
	if a.made[guest] {
		return nil
	}
	a.made[guest] = true
	loader, libraries, err := linkedWith(host)
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	if err := a.copy(guest, host); err != nil {
		return err
	}
	if loader != "" && !a.made[loader] {
		a.made[loader] = true
		if err := a.copy(loader, loader); err != nil {
			return err
		}
		// The C library opens this one by itself when a thread ends.
		libraries = append(libraries, "libgcc_s.so.1")
	}
	for _, name := range libraries {
		file, err := findLibrary(name)
		if err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
		if file == loader || filepath.Base(loader) == name {
			continue
		}
		if err := addLinked(a, "/usr/lib/"+name, file); err != nil {
			return err
		}
	}
	return nil
}

// linkedWith is the loader and the libraries that a file names; a static one
// names none.
func linkedWith(file string) (loader string, libraries []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", nil, err
	}
	defer f.Close() //nolint:errcheck // Opened for reading.
	i := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP && p.Filesz < 4096 })
	if i >= 0 {
		text := make([]byte, f.Progs[i].Filesz)
		if _, err := f.Progs[i].ReadAt(text, 0); err != nil {
			return "", nil, err
		}
		loader = strings.TrimRight(string(text), "\x00")
	}
	libraries, err = f.ImportedLibraries()
	return loader, libraries, err
}

func findLibrary(name string) (string, error) {
	for _, dir := range libraryDirs() {
		file := filepath.Join(dir, name)
		if found, err := filepath.EvalSymlinks(file); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("no library %s", name)
}
