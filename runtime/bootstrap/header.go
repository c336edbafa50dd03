package bootstrap

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/definition"
)

// header reads keys and collects what is wrong with them.
type header struct {
	definition.Header
	file, arch, temp string
	// confined says that tools run in a user namespace.
	confined bool
	errs     []error
}

func (h *header) err() error { return errors.Join(h.errs...) }

func (h *header) failf(key, format string, args ...any) {
	h.errs = append(h.errs, &definition.Error{File: h.file, Line: h.Line(key), Message: key + ": " + fmt.Sprintf(format, args...)})
}

// need is the value of a key that has to be there.
func (h *header) need(key, example string) string {
	value := h.Value(key)
	if value == "" {
		h.errs = append(h.errs, &definition.Error{
			File: h.file, Line: h.Line("bootstrap"),
			Message: fmt.Sprintf("bootstrap %s needs a line \"%s: %s\"", h.Bootstrap(), key, example),
		})
	}
	return value
}

// word is a value that matches a pattern, or empty.
func (h *header) word(key string, pattern *regexp.Regexp) string {
	value := h.Value(key)
	if value != "" && !pattern.MatchString(value) {
		h.failf(key, "%q is not understood", value)
		return ""
	}
	return value
}

// words are the parts of a value between spaces and commas, all of which match a pattern.
func (h *header) words(key string, pattern *regexp.Regexp) []string {
	list := strings.FieldsFunc(h.Value(key), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	for _, word := range list {
		if !pattern.MatchString(word) {
			h.failf(key, "%q is no name of a package", word)
		}
	}
	return list
}

// url is an address, of one of the schemes. It has no spaces or control characters,
// and no name and password that others would see.
func (h *header) url(key, value string, schemes ...string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	printable := !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '"' || r == '\'' || r == '\\' })
	switch {
	case err != nil || !printable || u.Opaque != "":
		h.failf(key, "%q is no address", value)
	case !slices.Contains(schemes, u.Scheme):
		h.failf(key, "%q is no address that begins with %s://", value, strings.Join(schemes, ":// or "))
	case u.Scheme == "file" && (u.Host != "" || !path.IsAbs(u.Path)), u.Scheme != "file" && u.Host == "":
		h.failf(key, "%q is no address: it names no host, or a path that is not absolute", value)
	default:
		return value
	}
	return ""
}

// file is an absolute path on this machine, or empty.
func (h *header) path(key string) string {
	value := h.Value(key)
	if value != "" && (!path.IsAbs(value) || strings.ContainsAny(value, "\n\"'\\")) {
		h.failf(key, "%q is no absolute path of a file on this machine", value)
		return ""
	}
	return value
}
