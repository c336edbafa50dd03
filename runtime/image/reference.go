package image

import (
	"fmt"
	"path/filepath"
	"strings"
)

const (
	pathScheme = "sif://"
	idScheme   = "sha256:"
	hexDigits  = "0123456789abcdef"
	defaultTag = ":latest"
	// minPrefix is the shortest beginning of an ID that may stand for it.
	minPrefix = 4
	maxTag    = 255
)

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

// normalTag is the one spelling of a tag: "web" is "web:latest", and
// "docker.io/library/web:1" is "web:1".
func normalTag(ref string) (string, error) {
	invalid := func(why string) error {
		return &kindError{ErrInvalid, fmt.Errorf("image reference %q: %s", ref, why)}
	}
	name := ref
	for _, host := range []string{"docker.io/", "index.docker.io/"} {
		if rest, ok := strings.CutPrefix(name, host); ok {
			name = strings.TrimPrefix(rest, "library/")
		}
	}
	tag := strings.TrimPrefix(defaultTag, ":")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	switch {
	case name == "":
		return "", invalid("no name")
	case len(name)+len(tag) >= maxTag:
		return "", invalid("too long")
	case name+":" == idScheme:
		return "", invalid("the name of a hash is no name")
	case tag == "" || len(tag) > 128 || tag[0] == '.' || tag[0] == '-' || !isWord(strings.ToLower(tag)):
		return "", invalid("want letters, digits, '_', '.' and '-' after the ':'")
	}
	for i, part := range strings.Split(name, "/") {
		if i == 0 && strings.Contains(name, "/") {
			part = strings.Replace(part, ":", "", 1) // the port of a registry
		}
		if !isWord(part) || part[0] == '.' || part[0] == '-' {
			return "", invalid("want lower-case letters, digits, '_', '.', '-' and '/' in the name")
		}
	}
	return name + ":" + tag, nil
}

func isWord(text string) bool {
	return text != "" && strings.Trim(text, hexDigits+"ghijklmnopqrstuvwxyz_.-") == ""
}

// fileTag makes a tag of a file's name: "Web App.oci.sif" gives
// "web-app:latest".
func fileTag(path string) string {
	name := strings.ToLower(filepath.Base(path))
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".sif"), ".oci")
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r < 0x80 && isWord(string(r)) {
			return r
		}
		return '-'
	}, name), ".-_")
	if len(name) > 128 {
		name = name[:128]
	}
	if name == "" || name+":" == idScheme {
		name = "image"
	}
	return name + defaultTag
}

// idDigits is the hexadecimal part of an ID or of the beginning of one.
func idDigits(ref string) (string, bool) {
	digits := strings.TrimPrefix(ref, idScheme)
	ok := len(digits) >= minPrefix && len(digits) <= 64 && strings.Trim(digits, hexDigits) == ""
	return digits, ok
}
