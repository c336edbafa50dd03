// Package image keeps images: it finds them by reference, pulls and imports them, pins
// them while containers use them, and lists and removes them.
//
// An image is a SIF file, used in place, wherever its path says, or in the store, where it
// is named by the SHA-256 of its content; or it is an OCI image, whose layers the store
// has as a SIF file each, converted once however many images share them. Files in place are
// never written, moved or deleted. What the package mounts nobody sees. It alone writes its directory:
//
//	images/NAME.json     what is known of an image: names, what it consists of, times
//	pins/NAME.json       which images an owner needs
//	sha256/HEX.sif       SIF files by the digest of their content
//	layers/HEX.sif       layers by the digest of what is in them, unpacked
//	layers/HEX.acl/root  what of a layer has POSIX ACLs, to be stacked right above it
//	ingest/              imports and pulls under way, locked by who is at it; what nobody has
//	                     locked goes when a store is opened
//	downloads/           what came of pulls that broke off; waits a day to be taken up again
//	lock                 held by the process that changes something, while it does
//
// Many processes may have a store open, and each sees what the others did. A file in
// sha256/ or layers/ that no record speaks of is left over, and goes when a store is opened:
// whoever makes an image moves its files from ingest/ and writes its record in one turn.
package image

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/trust"
)

// The kinds of error that callers tell apart.
var (
	// ErrNotFound says that no image has the reference.
	ErrNotFound = errors.New("image not found")
	// ErrInvalid says that a reference, or the file it names, is of no use:
	// malformed, ambiguous, no SIF, corrupt, or for another architecture.
	ErrInvalid = errors.New("invalid image")
	// ErrDamaged says that files of an image in the store are gone or cut short. It
	// is ErrNotFound too: pulling the image makes it whole.
	ErrDamaged = errors.New("damaged image")
	// ErrDenied says that the configuration of this node lets nobody name the file.
	ErrDenied = errors.New("image denied")
	// ErrUnsupported says that siflet can't do that yet.
	ErrUnsupported = errors.New("not supported")
)

// Extent is one file system of an image.
type Extent struct {
	// Path is the file it is in, at Offset, of Size bytes, or a directory.
	Path         string
	Offset, Size int64
	// FS is "squashfs", "ext3" or "directory". An ext3 file system may have its files under
	// /upper, as writable overlays do.
	FS string
}

// Config is what the image says about the process to run: that of an OCI-SIF, or
// of the oci-config.json that images converted from OCI carry.
type Config struct {
	Entrypoint, Cmd, Env         []string
	WorkingDir, User, StopSignal string
	Labels                       map[string]string
	Volumes, ExposedPorts        []string
	Healthcheck                  *sif.Healthcheck
}

// Image is an image as it is now. The slices are shared: don't change them.
type Image struct {
	// ID is "sha256:<hex>": of the content of a SIF in the store; of the config
	// of an OCI image; of what identifies a file in place (header, descriptors,
	// size, time, path), so that a file which changes becomes another image.
	ID string
	// References are the full names it was imported or pulled by, sorted:
	// "docker.io/library/web:latest", "/images/web.sif". Of a file in place the path by
	// which it was looked up is among them.
	References []string
	// Known says that it was pulled or imported. A file that was looked up by the path of
	// a link is known if it was pulled by that path.
	Known bool
	// Path is the SIF file, without symbolic links; empty for an OCI image, whose
	// layers have a file each.
	Path string
	// InPlace says that the file is not the store's.
	InPlace bool
	// Size is that of its files.
	Size int64
	// Arch is a GOARCH name.
	Arch string
	// Native says that the image may have /.singularity.d.
	Native bool
	// Extents are the file systems to stack, lowest first.
	Extents []Extent
	Config  Config
	// Inner is what the config of an OCI image says of its containers, in its own words; nil
	// if it was pulled by a siflet that did not keep that, and of a SIF.
	Inner json.RawMessage
	// Digests are the names with which registries have it, sorted:
	// "docker.io/library/web@sha256:...".
	Digests []string
	// Manifests are the digests of what those names point to and of the manifest.
	Manifests []string
	// Layers are the digests of an OCI image's layers, unpacked, lowest first.
	Layers []string
	// Signatures are those that were attached to it when it was pulled.
	Signatures []trust.Signature
	// Source is what it was made from: a reference or a path.
	Source string
	// Pinned says that an owner needs the image. A file in place is never
	// deleted, so nobody has to.
	Pinned bool
	// Kept says that the image must stay until somebody removes it by name.
	Kept bool
	// CreatedAt is when it was imported or pulled, or the file's own time.
	CreatedAt time.Time
}

// Names are those that a policy knows the image by: what people and registries call
// it, else where it is. A name is no way around the rules for another one.
func (i *Image) Names() []string {
	all := slices.Concat(i.References, i.Digests)
	if len(all) == 0 && i.Path != "" {
		all = []string{i.Path}
	}
	return all
}

// Removed says that the image is there for those alone who need it already: it has no
// name any more, and nobody keeps it.
func (i *Image) Removed() bool {
	return i.Known && !i.Kept && len(i.References)+len(i.Digests) == 0
}

// ImportedAs says that a name as registries have them was given to the image by an import:
// no registry was asked for it.
func (i *Image) ImportedAs(ref string) bool { return importedAs(ref, i.Digests) }

// importedAs says that an image with these digests has a name, if it has it, by an import. A
// pull brings the digest along that the name's own registry gives.
func importedAs(ref string, digests []string) bool {
	parsed, err := parseName(ref)
	return err == nil && !slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, parsed.Name()+"@") })
}

// kindError gives an error a kind without changing its text.
type kindError struct {
	kind, err error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }
