package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/contract"
)

// Tree is the root file system of an image. Its methods follow no symbolic link at the
// end of a path and get none within one.
type Tree interface {
	fs.ReadLinkFS
	fs.ReadDirFS
}

// Found is what the files of an image say. It is false if there is no /.singularity.d: the
// image was not made by Singularity. Problems are what could not be read.
func Found(t Tree) (a contract.Attributes, made bool, problems []error) {
	root := &followed{tree: t, budget: maxAll}
	a = contract.Inspect(root).Data.Attributes
	const labels = ".singularity.d/labels.json"
	if info, err := root.Lstat(labels); err == nil && info.Mode().IsRegular() && a.Labels == nil {
		problems = append(problems, fmt.Errorf("/%s: it can't be read as labels", labels))
	}
	return a, Scripted(t), append(root.problems, problems...)
}

// Scripted says that there is a /.singularity.d.
func Scripted(t Tree) bool {
	_, err := (&followed{tree: t}).Lstat(".singularity.d")
	return err == nil
}

const (
	// maxAll bounds what is read of an image.
	maxAll = 32 << 20
	// maxLinks is what Linux follows, maxProblems what a person reads.
	maxLinks    = 40
	maxProblems = 10
)

// followed is a tree whose links are followed as if the image were "/".
type followed struct {
	tree     Tree
	budget   int64
	problems []error
}

// failed keeps what is worth to be told.
func (f *followed) failed(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) && len(f.problems) < maxProblems {
		f.problems = append(f.problems, fmt.Errorf("/%s: %w", name, err))
	}
	return err
}

// Lstat describes what is at a path, and where a link there leads.
func (f *followed) Lstat(name string) (fs.FileInfo, error) {
	at, err := f.resolve(name)
	if err != nil {
		return nil, f.failed(name, err)
	}
	info, err := f.tree.Lstat(at)
	if err != nil {
		return nil, f.failed(name, err)
	}
	if info.Mode().IsRegular() {
		if f.budget -= info.Size(); f.budget < 0 {
			return nil, f.failed(name, errors.New("too much to be read"))
		}
	}
	return info, nil
}

// Stat is Lstat.
func (f *followed) Stat(name string) (fs.FileInfo, error) { return f.Lstat(name) }

// ReadLink finds none: they are followed.
func (f *followed) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

// Open opens what is at a path.
func (f *followed) Open(name string) (fs.File, error) {
	at, err := f.resolve(name)
	if err != nil {
		return nil, f.failed(name, err)
	}
	file, err := f.tree.Open(at)
	if err != nil {
		return nil, f.failed(name, err)
	}
	return file, nil
}

// ReadDir lists a directory.
func (f *followed) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := f.resolve(name)
	if err != nil {
		return nil, f.failed(name, err)
	}
	info, err := f.tree.Lstat(at)
	if err != nil || !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	list, err := f.tree.ReadDir(at)
	if err != nil {
		return nil, f.failed(name, err)
	}
	return list, nil
}

// resolve is where a path leads.
func (f *followed) resolve(name string) (string, error) {
	done, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := f.tree.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", errors.New("too many symbolic links")
		}
		target, err := f.tree.ReadLink(next)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(target, "/") {
			done = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}
