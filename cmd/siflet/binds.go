package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime"
)

// parseBinds reads --bind values: SRC[:DEST[:OPTS]], comma separated; a comma
// or colon in a path is written "\," and "\:". Options are ro and rw, separated
// by commas too, so a word that is only an option belongs to the bind before it.
func parseBinds(values []string) ([]runtime.Mount, error) {
	var mounts []runtime.Mount
	for _, value := range values {
		for _, word := range splitEscaped(value, ',') {
			if (word == "ro" || word == "rw") && len(mounts) > 0 {
				mounts[len(mounts)-1].Readonly = word == "ro"
				continue
			}
			if word == "" {
				continue
			}
			mount, err := parseBind(word)
			if err != nil {
				return nil, err
			}
			mounts = append(mounts, mount)
		}
	}
	return mounts, nil
}

func parseBind(word string) (runtime.Mount, error) {
	parts := splitEscaped(word, ':')
	if len(parts) > 3 || parts[0] == "" {
		return runtime.Mount{}, usageError{text: fmt.Sprintf("--bind %q: want SRC[:DEST[:ro|rw]]", word)}
	}
	source, err := hostPath(parts[0])
	if err != nil {
		return runtime.Mount{}, err
	}
	mount := runtime.Mount{Source: source, Target: source}
	if len(parts) > 1 && parts[1] != "" {
		mount.Target = parts[1]
	}
	if !filepath.IsAbs(mount.Target) {
		return runtime.Mount{}, usageError{text: fmt.Sprintf("--bind %q: destination %q must be an absolute path", word, mount.Target)}
	}
	if len(parts) > 2 {
		switch parts[2] {
		case "ro":
			mount.Readonly = true
		case "rw", "":
		default:
			return runtime.Mount{}, usageError{text: fmt.Sprintf("--bind %q: unknown option %q", word, parts[2])}
		}
	}
	return mount, sourceExists(mount.Source)
}

// parseMounts reads --mount values, CSV records of key=value.
func parseMounts(values []string) ([]runtime.Mount, error) {
	var mounts []runtime.Mount
	for _, value := range values {
		fields, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			return nil, usageError{text: fmt.Sprintf("--mount %q: %v", value, err)}
		}
		mount, err := parseMount(fields)
		if err != nil {
			return nil, usageError{text: fmt.Sprintf("--mount %q: %v", value, err)}
		}
		if err := sourceExists(mount.Source); err != nil {
			return nil, err
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

func parseMount(fields []string) (mount runtime.Mount, err error) {
	for _, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "type":
			if value != "bind" {
				return mount, fmt.Errorf("type %q is not known; it must be bind", value)
			}
		case "source", "src":
			if mount.Source, err = hostPath(value); err != nil {
				return mount, err
			}
		case "destination", "dst", "target":
			mount.Target = value
		case "ro", "readonly":
			mount.Readonly = value == "" || value == "true" || value == "1"
		case "bind-propagation":
			mount.Propagation = strings.TrimPrefix(value, "r")
		default:
			return mount, fmt.Errorf("unknown key %q", key)
		}
	}
	switch {
	case mount.Source == "":
		return mount, errors.New("source is missing")
	case !filepath.IsAbs(mount.Target):
		return mount, errors.New("destination must be an absolute path")
	}
	return mount, nil
}

func hostPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("bind %s: %w", path, err)
	}
	return abs, nil
}

func sourceExists(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("bind source %s: %w; create it first, or correct --bind", path, unwrapPath(err))
	}
	return nil
}

// splitEscaped splits at sep, except where a backslash stands before it.
func splitEscaped(s string, sep byte) []string {
	var (
		words []string
		word  strings.Builder
	)
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == sep || s[i+1] == '\\'):
			i++
			// The other separator keeps its backslash for the second split.
			word.WriteByte(s[i])
		case s[i] == sep:
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(s[i])
		}
	}
	return append(words, word.String())
}
