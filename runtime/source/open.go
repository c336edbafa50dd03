package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Scheme splits "docker://x" and "oci-archive:x" into scheme and rest; scheme is
// empty for a bare name and for a path, sif:// included. ok is false for a scheme
// that is unknown.
func Scheme(ref string) (scheme, rest string, ok bool) {
	if name, after, found := strings.Cut(ref, "://"); found && schemeName(name) {
		switch name {
		case "docker", "oras", "library", "https", "http", "docker-archive", "oci-archive", "oci":
			return name, after, true
		case "sif":
			return "", ref, true
		}
		return name, after, false
	}
	// Without slashes only these are schemes: "docker:latest" is an image called docker.
	for _, name := range []string{"docker-archive", "oci-archive", "oci"} {
		if after, found := strings.CutPrefix(ref, name+":"); found {
			return name, after, true
		}
	}
	for _, name := range []string{"docker-daemon", "containers-storage"} {
		if after, found := strings.CutPrefix(ref, name+":"); found {
			return name, after, false
		}
	}
	return "", ref, true
}

func schemeName(text string) bool {
	return text != "" && strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// Open finds the image that ref names. The caller closes its Blobs. Errors don't repeat ref.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	scheme, rest, ok := Scheme(ref)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not a scheme that siflet reads", ErrUnsupported, scheme)
	}
	switch scheme {
	case "docker":
		return openRegistry(ctx, rest, o)
	case "oras":
		return openORAS(ctx, rest, o)
	case "docker-archive", "oci-archive":
		return openArchive(ctx, scheme, rest, o)
	case "oci":
		return openLayout(ctx, rest, o)
	case "https", "http":
		return openWeb(ctx, scheme+"://"+rest, o)
	case "library":
		return openLibrary(ctx, rest, o)
	}
	if isPath(rest) {
		return nil, fmt.Errorf("%w: it is a path", ErrUnsupported)
	}
	return openRegistry(ctx, rest, o)
}

func isPath(ref string) bool {
	for _, start := range []string{"/", "./", "../", "sif://"} {
		if strings.HasPrefix(ref, start) {
			return true
		}
	}
	return ref == "." || ref == ".."
}

// keep gives an opened image the blobs it came from, or closes them with the error.
func keep(image *Image, err error, from Blobs, name string) (*Image, error) {
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	image.Name, image.Blobs = name, from
	return image, nil
}
