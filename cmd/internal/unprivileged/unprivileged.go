// Package unprivileged finds how a user who is not root makes containers on this machine:
// which ids may be mapped in a user namespace, and what serves squashfs file systems.
//
// It starts programs of the machine to learn what they can do, and writes nothing.
package unprivileged

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/supervisor"
)

// Options say what is wanted.
type Options struct {
	// Root makes the caller root in the container.
	Root bool
	// NoRange leaves out the ids that /etc/subuid gives the caller.
	NoRange bool
	// Owners has images tell who owned a file where all have to be the caller's: see
	// linux.OwnerNote.
	Owners bool
}

// Way is how containers are made, and what those who make them should know.
type Way struct {
	*runtime.Unprivileged

	// Alone says why no ids but the caller's are mapped; nil if there are more.
	Alone error
	// NoFUSE says why nothing can serve images, and what to do about it; nil if something can.
	NoFUSE error
}

// Find looks around.
func Find(o Options) (Way, error) {
	way := Way{Unprivileged: &runtime.Unprivileged{Root: o.Root}}
	way.Network = network.UserMode{Pasta: find("pasta"), Slirp: find("slirp4netns")}
	if os.Geteuid() == 0 {
		way.Root, way.Inside, way.Alone = true, true, alone()
		return way, way.serving(o)
	}
	m, err := ranges(o)
	if err != nil {
		own := linux.MapSelf(o.Root)
		way.Alone, way.MapIDs = err, func(_ context.Context, proc string) error { return own(proc) }
	} else {
		way.MapIDs = m.mapIDs
	}
	return way, way.serving(o)
}

// alone says why a root of a user namespace has no ids but its own.
func alone() error {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	sum := uint64(0)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 { //nolint:mnd // user_namespaces(7)
			n, _ := strconv.ParseUint(fields[2], 10, 32)
			sum += n
		}
	}
	if sum > 1 {
		return nil
	}
	return errors.New("its user namespace has no other ids")
}

// ranges makes a map of all ids that the caller may map.
func ranges(o Options) (*mapper, error) {
	if o.NoRange {
		return nil, errors.New("it was not to be looked for")
	}
	who, err := accounts.ByID(strconv.Itoa(os.Getuid()))
	if err != nil {
		return nil, err // newuidmap would not know them either
	}
	uid, gid := os.Geteuid(), os.Getegid()
	uids, err := subIDs("/etc/subuid", who.Username, uid)
	if err != nil {
		return nil, err
	}
	gids, err := subIDs("/etc/subgid", who.Username, uid)
	if err != nil {
		return nil, err
	}
	if len(uids) == 0 || len(gids) == 0 {
		return nil, fmt.Errorf("%s has no ids in /etc/subuid and /etc/subgid", who.Username)
	}
	m := &mapper{}
	for _, helper := range []struct {
		path *string
		name string
	}{{&m.newuidmap, "newuidmap"}, {&m.newgidmap, "newgidmap"}} {
		// One in somebody's own environment would have no privileges.
		if *helper.path = cmp.Or(findSystem(helper.name), find(helper.name)); *helper.path == "" {
			return nil, fmt.Errorf("%s is not installed (package uidmap)", helper.name)
		}
	}
	self, group := uint32(uid), uint32(gid) //nolint:gosec // the kernel's are 32 bits
	if o.Root {
		self, group = 0, 0
	}
	m.uids, m.gids = spread(self, uint32(uid), uids), spread(group, uint32(gid), gids) //nolint:gosec // as above
	return m, nil
}

// find looks for a program in $PATH and then in the system's directories, which are not
// always in a user's.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil && filepath.IsAbs(path) {
		return path
	}
	return findSystem(name)
}

// findSystem looks in the system's directories alone.
func findSystem(name string) string {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// ServerVar names a program to serve images by, instead of siflet-fuse.
const ServerVar = "SIFLET_SQUASHFUSE"

// serving finds what serves images. With no ids but the caller's own everything is theirs.
// squashfuse can't do it: it lists attributes of names that start with "trusted.", and an
// overlay in a user namespace changes no file of which it can't copy what is listed.
func (w *Way) serving(o Options) error {
	if w.NoFUSE = linux.ProbeFUSE(); w.NoFUSE != nil {
		w.FUSE.Path = supervisor.NoFUSE
		return nil //nolint:nilerr // there is another way
	}
	named := os.Getenv(ServerVar)
	if strings.HasPrefix(filepath.Base(named), "squashfuse") {
		return fmt.Errorf("%s: %s can't serve images: overlays can't copy the attributes that it lists; leave the variable out, for siflet-fuse", ServerVar, named)
	}
	path, err := setup.Program(named, "siflet-fuse")
	switch {
	case err != nil && named != "":
		return fmt.Errorf("%s: %w", ServerVar, err)
	case err != nil:
		w.FUSE.Path, w.NoFUSE = supervisor.NoFUSE, err
		return nil //nolint:nilerr // there is another way
	}
	w.FUSE.Path = path
	if w.Alone == nil {
		return nil
	}
	uid, gid := 0, 0
	if !w.Root {
		uid, gid = os.Geteuid(), os.Getegid()
	}
	w.FUSE.Options = fmt.Sprintf("uid=%d,gid=%d", uid, gid)
	if o.Owners && named == "" {
		w.FUSE.Options += ",owners"
	}
	return nil
}
