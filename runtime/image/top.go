package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/layer"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/squashfs"
)

const (
	defaultMode = 0o755
	typeDir     = 0o040000
	permissions = 0o7777
)

// stacked is what can be seen of directories in a stack of layers: those that
// some layer is silent about, though it has something below them, and their
// parents. An overlay shows the topmost layer's idea of a directory. That of a
// silent layer is squashfs's (0755, root's, 1970), but what a lower layer said
// holds.
type stacked struct {
	// wanted are the directories that matter, shown those that can be seen.
	wanted map[string]bool
	shown  map[string]shownDirectory
}

// shownDirectory is a directory as it should be seen.
type shownDirectory struct {
	layer.Directory
	// silent says that the topmost layer that has it does not describe it.
	silent bool
}

// hiddenDirectories are the directories, parents first, that an overlay of the
// layers in those files, lowest first, would show with the wrong owner, mode,
// time or attributes, and the parents of those, all as they should be.
func hiddenDirectories(files []string) ([]layer.Directory, error) {
	s := stacked{wanted: map[string]bool{}, shown: map[string]shownDirectory{}}
	heads := make([]layerHead, len(files))
	for i, file := range files {
		head, err := readDirectories(file, nil)
		if err != nil {
			return nil, err
		}
		heads[i] = head
		if i == 0 {
			continue // nothing is below
		}
		for _, dir := range head.Implicit {
			for ; !s.wanted[dir]; dir = path.Dir(dir) {
				s.wanted[dir] = true
			}
		}
	}
	if len(s.wanted) == 0 {
		return nil, nil
	}
	for i, file := range files {
		if err := s.add(file, heads[i]); err != nil {
			return nil, err
		}
	}
	return s.wrong(), nil
}

// add lays a layer on the stack.
func (s *stacked) add(file string, head layerHead) error {
	s.hide(head)
	for _, dir := range head.Implicit {
		if !s.wanted[dir] {
			continue
		}
		below, ok := s.shown[dir]
		if !ok {
			below.Directory = layer.Directory{Path: dir, Mode: typeDir | defaultMode}
		}
		below.silent = true
		s.shown[dir] = below
	}
	_, err := readDirectories(file, func(d layer.Directory) {
		if s.wanted[d.Path] {
			d.Xattrs = maps.Clone(d.Xattrs)
			s.shown[d.Path] = shownDirectory{Directory: d}
		}
	})
	return err
}

// hide forgets what a layer hides.
func (s *stacked) hide(head layerHead) {
	whiteouts, opaque := map[string]bool{}, map[string]bool{}
	for _, name := range head.Whiteouts {
		whiteouts[name] = s.wanted[name]
	}
	for _, dir := range head.Opaque {
		opaque[dir] = s.wanted[dir]
	}
	maps.DeleteFunc(s.shown, func(name string, _ shownDirectory) bool {
		for dir := name; ; dir = path.Dir(dir) {
			if whiteouts[dir] || opaque[dir] && dir != name {
				return true
			}
			if dir == rootDir {
				return false
			}
		}
	})
}

// wrong are the directories to be shown otherwise, and their parents.
func (s *stacked) wrong() []layer.Directory {
	need := map[string]bool{}
	for name, d := range s.shown {
		if !d.silent || d.plain() {
			continue
		}
		for dir := name; !need[dir]; dir = path.Dir(dir) {
			need[dir] = true
		}
	}
	var list []layer.Directory
	for _, name := range slices.Sorted(maps.Keys(need)) {
		d, ok := s.shown[name]
		if !ok {
			d.Directory = layer.Directory{Path: name, Mode: typeDir | defaultMode}
		}
		list = append(list, d.Directory)
	}
	return list
}

// plain says that a directory is as squashfs has one that nobody described. When
// the root was changed nobody can tell: containerd's is as old as its snapshot.
func (d shownDirectory) plain() bool {
	return d.Mode&permissions == defaultMode && d.UID == 0 && d.GID == 0 && len(d.Xattrs) == 0 &&
		(d.Time == 0 || d.Path == rootDir)
}

// makeTop makes a file system, on the bench, of directories alone.
func (s *Store) makeTop(ctx context.Context, b *bench, dirs []layer.Directory) (storedLayer, error) {
	o := s.layerOptions()
	described := struct {
		Directories []directoryLine
		Options     squashfs.Options
	}{nil, o.Squashfs}
	for _, d := range dirs {
		described.Directories = append(described.Directories, lineOf(d))
	}
	description, err := json.Marshal(described)
	if err != nil {
		return storedLayer{}, err
	}
	sum := sha256.Sum256(append([]byte("siflet directories 2\n"), description...))
	file := hex.EncodeToString(sum[:])
	if found, err := storedAt(s.layerPath(file), ""); err == nil {
		return found, nil
	}
	objects := []sif.Object{{
		Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: goruntime.GOARCH, Name: "directories",
		Fill: func(w io.WriterAt) (int64, error) { return writeTop(ctx, w, dirs, o.Squashfs) },
	}}
	acls := protected(dirs)
	if len(acls) > 0 {
		objects = append(objects, directories(&layer.Result{ACLs: acls}))
	}
	made := b.path(file)
	if err := sif.Create(made, sif.Options{Deterministic: true, Objects: objects}); err != nil {
		return storedLayer{}, err
	}
	var top storedLayer
	if err = s.protect(ctx, made, "directories", acls); err == nil {
		top, err = storedAt(made, "")
	}
	if err != nil {
		err = errors.Join(err, os.Remove(made))
	}
	return top, err
}

// protected are the ACLs of directories.
func protected(dirs []layer.Directory) (acls []layer.ACL) {
	for _, d := range dirs {
		a := layer.ACL{Path: d.Path, Access: d.Xattrs[layer.AccessACL], Default: d.Xattrs[layer.DefaultACL]}
		if a.Access != "" || a.Default != "" {
			acls = append(acls, a)
		}
	}
	return acls
}

func writeTop(ctx context.Context, w io.WriterAt, dirs []layer.Directory, o squashfs.Options) (int64, error) {
	out, err := squashfs.New(ctx, w, o)
	if err != nil {
		return 0, err
	}
	for _, d := range dirs {
		xattrs := maps.Clone(d.Xattrs)
		delete(xattrs, layer.AccessACL)
		delete(xattrs, layer.DefaultACL)
		err := out.Add(squashfs.Entry{
			Path: d.Path, Mode: typeDir | d.Mode&permissions, UID: d.UID, GID: d.GID, ModTime: time.Unix(d.Time, 0), Xattrs: xattrs,
		}, nil)
		if err != nil {
			out.Abort()
			return 0, err
		}
	}
	return out.Close()
}
