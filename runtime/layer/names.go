package layer

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// What whiteouts look like in a tar.
const (
	whiteoutPrefix = ".wh."
	metaPrefix     = whiteoutPrefix + whiteoutPrefix
	opaqueMarker   = metaPrefix + ".opq"
)

// Limits of Linux, in bytes.
const (
	maxName = 255
	maxPath = 4095
)

// clean takes a name of a tar from the image's root, which it never leaves: "."
// is the root itself.
func clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("zero byte in a name")
	}
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return ".", nil
	}
	if len(name) > maxPath {
		return "", fmt.Errorf("name of %d bytes, %d are possible", len(name), maxPath)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxName {
			return "", fmt.Errorf("%d bytes between two slashes of a name, %d are possible", len(part), maxName)
		}
	}
	return name, nil
}

// whiteout says what a clean name stands for. hidden is the last part of the name a
// whiteout takes away, "" for none; meta is what no image shows.
func whiteout(name string) (hidden string, opaque, meta bool, err error) {
	base := path.Base(name)
	if base == opaqueMarker && !isMeta(path.Dir(name)) {
		return "", true, false, nil
	}
	if isMeta(name) {
		return "", false, true, nil
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		return "", false, false, nil
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return "", false, false, errors.New("whiteout of nothing")
	}
	return hidden, false, false, nil
}

// isMeta knows what aufs kept in its layers for itself.
func isMeta(name string) bool {
	return strings.HasPrefix(name, metaPrefix) || strings.Contains(name, "/"+metaPrefix)
}

// within joins a name to a clean directory.
func within(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// split is the directory and the last part of a clean name that is not the root.
func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return ".", name
	}
	return name[:i], name[i+1:]
}
