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

// askedFor are the names of an image that was pulled or imported as ref, or as tag, without
// those that it had already: one, but for an archive that brings several.
func askedFor(ctx context.Context, i image.Image, ref, tag string) []string {
	all := slices.Concat(i.References, i.Digests)
	if tag != "" {
		ref = tag
	}
	scheme, rest, _ := source.Scheme(ref)
	rest = strings.TrimPrefix(rest, "//")
	wanted := []string{ref}
	switch {
	case len(i.References) == 1:
		return namesOf(i)
	case scheme == "docker-archive" || scheme == "oci-archive" || scheme == "oci":
		wanted = archiveNames(ctx, ref)
	default:
		if parsed, err := registry.ParseReference(rest); err == nil {
			wanted = append(wanted, parsed.String(), parsed.Name()+"@"+parsed.Digest)
		}
	}
	found := slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(wanted, name) })
	if len(found) == 0 {
		found = slices.DeleteFunc(slices.Clone(i.References), func(name string) bool { return !madeOf(name, rest) })
	}
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
	return append(found.Tags, found.Name)
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
