package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/sif"
)

// SIF writes the image to a file, which appears when it is complete. progress, if not nil,
// hears how many bytes of the image's files are written.
func (b *Build) SIF(ctx context.Context, path string, progress func(done int64)) (Lost, error) {
	s := b.last()
	objects, err := b.documents(s)
	if err != nil {
		return Lost{}, err
	}
	var made packed
	var failed error
	objects = append(objects, sif.Object{
		Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: s.arch,
		Fill: func(w io.WriterAt) (int64, error) {
			made, failed = pack(ctx, s.root.fd, w, b.times(), b.o.FixPerms, b.owners(s), progress)
			return made.size, failed
		},
	})
	err = sif.Create(path, sif.Options{Objects: objects, Deterministic: b.o.Reproducible, Time: b.o.Time})
	if failed != nil {
		return Lost{}, failed // nobody asked for objects
	}
	if made.stripped > 0 && b.o.Warn != nil {
		b.o.Warn(strippedText(made.stripped))
	}
	return made.lost, err
}

func strippedText(n int64) string {
	if n == 1 {
		return "1 file of the image was to be root's for want of attributes, and is not set-user-ID or set-group-ID any more"
	}
	return fmt.Sprintf("%d files of the image were to be root's for want of attributes, and are not set-user-ID or set-group-ID any more", n)
}

// owners says where the owners of a stage's files are.
func (b *Build) owners(s *stage) owners {
	unsure := b.o.Feign != nil && (b.o.Feign.Lost.Load() > 0 || !linux.KeepsNotes(s.root.dir))
	return owners{noted: linux.InUserNamespace(), unsure: unsure, feign: b.o.Feign}
}

// times are those of what the build changed.
func (b *Build) times() clamp {
	if !b.o.Reproducible {
		return clamp{}
	}
	return clamp{since: b.began, as: b.o.Time} // zero is 1970
}

// Sandbox writes the image to a directory, which it makes.
func (b *Build) Sandbox(ctx context.Context, path string) error {
	return copyOut(ctx, b.last().root.fd, path, b.o.FixPerms, b.o.Warn)
}

// Keep writes the root of the last stage, as far as it got, to a directory.
func (b *Build) Keep(ctx context.Context, path string) error {
	if b.Root() == "" {
		return errors.New("there is no root file system yet")
	}
	return copyOut(ctx, b.last().root.fd, path, false, b.o.Warn)
}

// copyOut copies a tree to a new directory; warn hears of what is left out.
func copyOut(ctx context.Context, root int, path string, accessible bool, warn func(string)) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	to, err := linux.Open(path, linux.OPath|linux.ODirectory)
	if err != nil {
		return err
	}
	defer linux.Close(to)
	devices, err := copyTree(ctx, root, to, accessible)
	if err != nil {
		return fmt.Errorf("copy %w", err)
	}
	if devices > 0 && warn != nil {
		warn(fmt.Sprintf("%d devices of the image are left out, which root alone can make", devices))
	}
	return nil
}
