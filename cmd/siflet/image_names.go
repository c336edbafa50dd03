package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
)

// namesOf is what to call an image.
func namesOf(i image.Image) []string {
	switch {
	case len(i.References) > 0:
		return familiars(i.References)
	case len(i.Digests) > 0:
		return familiars(i.Digests)
	default:
		return []string{i.ID}
	}
}

// pulledAs are the names of an image that was pulled as ref, without those that it had already.
func pulledAs(i image.Image, ref string) []string {
	wanted := []string{image.FullName(ref)}
	_, rest, _ := source.Scheme(ref)
	if parsed, err := registry.ParseReference(strings.TrimPrefix(rest, "//")); err == nil && parsed.Digest != "" {
		wanted = append(wanted, parsed.Name()+"@"+parsed.Digest)
	}
	return among(i, func(name string) bool { return slices.Contains(wanted, name) })
}

// importedAs are the names of an image that was imported from a file, or as tag, without
// those that it had already: one, but for an archive that brings several.
func importedAs(ctx context.Context, i image.Image, file, tag string) []string {
	scheme, _, _ := source.Scheme(file)
	switch {
	case tag != "":
		return pulledAs(i, tag)
	case scheme != "":
		brought := archiveNames(ctx, file)
		return among(i, func(name string) bool { return slices.Contains(brought, name) })
	}
	return among(i, func(name string) bool { return madeOf(name, file) })
}

// among are those of an image's names that are wanted, or all if none is.
func among(i image.Image, wanted func(name string) bool) []string {
	found := slices.DeleteFunc(slices.Concat(i.References, i.Digests), func(name string) bool { return !wanted(name) })
	if len(found) == 0 {
		return namesOf(i)
	}
	return familiars(found)
}

// archiveNames are those that an archive brings along.
func archiveNames(ctx context.Context, ref string) []string {
	found, err := source.Open(ctx, ref, source.Options{})
	if err != nil {
		return nil
	}
	defer found.Blobs.Close() //nolint:errcheck // read only
	return append(found.Tags, image.FullName(ref))
}

// madeOf says that a name was made of a file's: of "Web App.sif", web-app:latest.
func madeOf(name, file string) bool {
	parsed, err := registry.ParseReference(name)
	base := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(filepath.Base(file)), ".sif"), ".oci")
	letters := func(text string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, text)
	}
	repository, inLibrary := strings.CutPrefix(parsed.Repository, "library/")
	return err == nil && inLibrary && parsed.Tag == "latest" && letters(repository) == letters(base)
}
