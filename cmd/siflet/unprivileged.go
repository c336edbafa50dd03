package main

import (
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// way is how the caller makes containers; nil for root, who needs to know no other.
func (o *actionOptions) way(warnings io.Writer) (*runtime.Unprivileged, error) {
	if linux.IsRoot() {
		return nil, nil //nolint:nilnil // root's own way
	}
	way, err := o.found()
	if err == nil && way.Inside && o.attaches() {
		return nil, errors.New("--net: not in a user namespace that somebody else has made; leave it out, or use --network none with it")
	}
	if err == nil && o.fakeroot && way.Alone != nil {
		warn(warnings, "--fakeroot: root is the only user in the container, because %v: giving files to others and changing user "+
			"only seem to work; an administrator can change that: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER", way.Alone)
	}
	if err == nil && (way.NoFUSE != nil || o.unsquash) {
		u := &unpacking{
			stderr: warnings, parent: absolute(o.temporary()), why: way.NoFUSE, root: o.fakeroot,
			inside: way.Inside, owners: way.Alone == nil, way: way.Unprivileged,
		}
		way.Unpack = u.unpack
	}
	return way.Unprivileged, err
}

// absolute is a path for those who are elsewhere.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// temporary is where images are unpacked.
func (o *actionOptions) temporary() string {
	if o.tmp != "" {
		return o.tmp
	}
	if _, dir := setFor("tmpdir", os.LookupEnv); dir != "" {
		return dir // of a command that has no such flag
	}
	return os.TempDir()
}

func (o *actionOptions) found() (unprivileged.Way, error) {
	if o.find == nil {
		o.find = sync.OnceValues(func() (unprivileged.Way, error) { return unprivileged.Find(unprivileged.Options{Root: o.fakeroot}) })
	}
	return o.find()
}

// privileges are those of a process of the caller.
func (o *actionOptions) privileges() (runtime.Security, error) {
	s := runtime.Security{
		Seccomp: "unconfined", MaskedPaths: []string{}, ReadonlyPaths: []string{},
		User: program.User{Keep: true}, AllCaps: !o.noPrivs,
		AddCaps: o.addCaps, DropCaps: o.dropCaps, HostDev: !o.contain && o.site.MountDev != "minimal",
		NoNewPrivs: o.noPrivs || os.Geteuid() != 0 && !o.fakeroot && !o.allowSetuid,
	}
	if o.noPrivs {
		s.DropCaps = []string{"ALL"}
	} else if os.Geteuid() != 0 && !o.fakeroot {
		s.AmbientCaps, s.DropCaps = o.ambient(), []string{"ALL"}
	}
	if o.feigns() {
		way, err := o.found()
		if err != nil {
			return s, err
		}
		if way.Alone != nil {
			s.Seccomp = runtime.FeignedIDs
		}
	}
	return s, nil
}

// ambient are the capabilities of a user who is not root in the container either: over
// what belongs to the container alone.
func (o *actionOptions) ambient() []string {
	all := o.addCaps
	if o.writableTmpfs || slices.ContainsFunc(o.overlays, func(s string) bool { return !strings.HasSuffix(s, ":ro") }) {
		// Whose changes these are may make them, also where an image's files are its root's.
		all = append(slices.Clone(all), "CAP_DAC_OVERRIDE")
	}
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.ContainsFunc(o.dropCaps, sameCapability(name)) })
}

// sameCapability compares names of capabilities, which may be without their CAP_.
func sameCapability(name string) func(string) bool {
	return func(other string) bool {
		plain := func(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "CAP_") }
		return plain(name) == plain(other)
	}
}

// feigned is the user in the container: the caller, or root with --fakeroot.
func (o *actionOptions) feigned(who *user.User) *user.User {
	if !o.feigns() {
		return who
	}
	return &user.User{Uid: "0", Gid: "0", Username: "root", Name: "root", HomeDir: "/root"}
}

// feigns says that the caller becomes root, who is not.
func (o *actionOptions) feigns() bool { return o.fakeroot && os.Geteuid() != 0 }
