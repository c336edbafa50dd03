package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
)

const (
	pathScheme = "sif://"
	idScheme   = "sha256:"
	hexDigits  = "0123456789abcdef"
	idLength   = 64
	// minPrefix is the shortest beginning of an ID that may stand for it.
	minPrefix = 4
)

// localFile begins names of files of this node: "local.file/shared/web.sif" is
// "/shared/web.sif". The kubelet refuses paths; what it hands on has the form of a
// registry's name, with the tag "latest" if the pod gives none.
const localFile = "local.file/"

// LocalFile is the reference without that, which is all that anybody else knows of.
func LocalFile(ref string) string {
	if path, ok := strings.CutPrefix(ref, localFile); ok {
		return "/" + strings.TrimSuffix(path, ":latest")
	}
	return ref
}

// asPath is the path that a reference names, cleaned: "/abs/x.sif" or
// "sif:///abs/x.sif". ok is false for references of other forms.
func asPath(ref string) (path string, ok bool, err error) {
	path, scheme := strings.CutPrefix(ref, pathScheme)
	if !scheme && !strings.HasPrefix(ref, "/") {
		return "", false, nil
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) || len(path) > 4096 {
		return "", true, &kindError{ErrInvalid, fmt.Errorf("image reference %q: want an absolute path", ref)}
	}
	return filepath.Clean(path), true, nil
}

// inRegistry says that a reference is a name as registries have them, and what
// it is without its scheme.
func inRegistry(ref string) (name string, ok bool) {
	scheme, rest, known := source.Scheme(ref)
	switch {
	case !known:
		return "", false
	case scheme == "":
		return ref, !strings.HasPrefix(ref, "/")
	default:
		return strings.TrimPrefix(rest, "//"), scheme == "docker" || scheme == "oras"
	}
}

// parseName reads a name as registries have them, by Docker's rules.
func parseName(ref string) (registry.Reference, error) {
	name, ok := inRegistry(ref)
	if !ok {
		return registry.Reference{}, &kindError{ErrInvalid, fmt.Errorf("image reference %q: not a name", ref)}
	}
	parsed, err := registry.ParseReference(name)
	if err == nil && parsed.Host == "docker.io" && parsed.Repository == "library/sha256" {
		err = fmt.Errorf("image reference %q: the name of a hash is no name", ref)
	}
	if err != nil {
		return registry.Reference{}, &kindError{ErrInvalid, err}
	}
	return parsed, nil
}

// fullTag is the one spelling of a tag: "web" is "docker.io/library/web:latest".
func fullTag(ref string) (string, error) {
	parsed, err := parseName(ref)
	if err != nil {
		return "", err
	}
	if parsed.Digest != "" {
		return "", &kindError{ErrInvalid, fmt.Errorf("image reference %q: a digest is no tag", ref)}
	}
	return parsed.String(), nil
}

// canonical is the one spelling of a reference that is neither a path nor an ID.
func canonical(ref string) (string, error) {
	if _, ok := inRegistry(ref); !ok {
		return located(ref)
	}
	parsed, err := parseName(ref)
	return parsed.String(), err
}

// FullName is the one spelling of a name that an image may have got by a pull: "web" is
// "docker.io/library/web:latest", "docker-archive:x.tar" has its path in full. What is no
// such name stays as it is.
func FullName(ref string) string {
	if path, ok, err := asPath(ref); ok && err == nil {
		return path
	}
	name, err := canonical(ref)
	if err != nil {
		return ref
	}
	return name
}

// located makes the path absolute and clean in a reference to an archive. It goes by the
// text alone, for the archive may be gone. What is chosen in it stays as it is written, and
// must not look like a way to another file, whose name and whose rules these would be.
func located(ref string) (string, error) {
	scheme, rest, ok := source.Scheme(ref)
	if !ok || !isArchive(ref) {
		return ref, nil
	}
	end := len(rest)
	for _, mark := range []string{":", "@" + idScheme} {
		if i := strings.Index(rest, mark); i >= 0 {
			end = min(end, i)
		}
	}
	path, choice := rest[:end], rest[end:]
	if path == "" || slices.Contains(strings.Split(choice, "/"), "..") {
		return "", &kindError{ErrInvalid, fmt.Errorf("image reference %q: want %s:FILE or %s:FILE:NAME", ref, scheme, scheme)}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return scheme + ":" + path + choice, nil
}

// isArchive says that a reference names files with an OCI or Docker image.
func isArchive(ref string) bool {
	scheme, _, ok := source.Scheme(ref)
	return ok && slices.Contains([]string{"docker-archive", "oci-archive", "oci"}, scheme)
}

// fileTag makes a tag of a file's name: "Web App.oci.sif" gives "web-app".
func fileTag(path string) string {
	name := strings.ToLower(filepath.Base(path))
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".sif"), ".oci")
	name = strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(hexDigits+"ghijklmnopqrstuvwxyz", r) {
			return r
		}
		return '-'
	}, name), "-")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	if len(name) > 128 {
		name = strings.TrimRight(name[:128], "-")
	}
	if name == "" || name+":" == idScheme {
		name = "image"
	}
	return name
}

// idDigits is the hexadecimal part of an ID or of the beginning of one.
func idDigits(ref string) (string, bool) {
	digits := strings.TrimPrefix(ref, idScheme)
	ok := len(digits) >= minPrefix && len(digits) <= idLength && strings.Trim(digits, hexDigits) == ""
	return digits, ok
}

// isID says that a reference can be nothing but an ID or the beginning of one.
func isID(ref string) bool {
	digits, ok := idDigits(ref)
	return ok && (len(digits) == idLength || strings.HasPrefix(ref, idScheme))
}

// isDigest says that text is "sha256:" and 64 digits.
func isDigest(text string) bool {
	digits, ok := idDigits(text)
	return ok && len(digits) == idLength && strings.HasPrefix(text, idScheme)
}

// withKind gives errors of the packages below the kinds of this one.
func withKind(err error) error {
	var kind error
	switch {
	case errors.Is(err, registry.ErrReference), errors.Is(err, source.ErrPlatform):
		kind = ErrInvalid
	case errors.Is(err, source.ErrUnsupported):
		kind = ErrUnsupported
	case errors.Is(err, registry.ErrNotFound):
		kind = ErrNotFound
	default:
		return err
	}
	return &kindError{kind, err}
}
