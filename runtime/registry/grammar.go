package registry

import (
	"fmt"
	"strings"
)

func lower(c byte) bool    { return 'a' <= c && c <= 'z' }
func digit(c byte) bool    { return '0' <= c && c <= '9' }
func lowerHex(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' }
func anyHex(c byte) bool   { return lowerHex(c) || 'A' <= c && c <= 'F' }
func alnum(c byte) bool    { return lower(c) || digit(c) }
func anyAlnum(c byte) bool { return alnum(c) || 'A' <= c && c <= 'Z' }

func all(text string, is func(byte) bool) bool {
	for i := range len(text) {
		if !is(text[i]) {
			return false
		}
	}
	return true
}

// checkHost says what is wrong with "host", "host:port" or "[IPv6]:port".
func checkHost(host string) string {
	const longest = 255
	if len(host) > longest {
		return "its host is longer than 255 characters"
	}
	var name, port string
	var ported bool
	if rest, ok := strings.CutPrefix(host, "["); ok {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || inner == "" || !all(inner, func(c byte) bool { return anyHex(c) || c == ':' }) {
			return fmt.Sprintf("%q is no IPv6 address", host)
		}
		if after == "" {
			return ""
		}
		if port, ported = strings.CutPrefix(after, ":"); !ported {
			return fmt.Sprintf("%q is no host", host)
		}
	} else {
		name, port, ported = strings.Cut(host, ":")
		for part := range strings.SplitSeq(name, ".") {
			inner := func(c byte) bool { return anyAlnum(c) || c == '-' }
			if part == "" || !all(part, inner) || part[0] == '-' || part[len(part)-1] == '-' {
				return fmt.Sprintf("%q is no host", host)
			}
		}
	}
	if ported && (port == "" || !all(port, digit)) {
		return fmt.Sprintf("%q is no port", port)
	}
	return ""
}

func checkRepository(path string) string {
	const longest = 255
	switch {
	case path == "":
		return "it has no repository"
	case len(path) > longest:
		return "its repository is longer than 255 characters"
	case strings.ToLower(path) != path:
		return fmt.Sprintf("repository %q must be lowercase", path)
	}
	for part := range strings.SplitSeq(path, "/") {
		if !component(part) {
			return fmt.Sprintf("repository %q: want lowercase letters and digits, separated by /, '.', '_', '__' or dashes", path)
		}
	}
	return ""
}

// component says whether part is alphanumerics separated by ".", "_", "__" or dashes.
func component(part string) bool {
	after := false // there are alphanumerics before the separator
	for part != "" {
		i := 0
		for i < len(part) && alnum(part[i]) {
			i++
		}
		if i == 0 {
			return false
		}
		part, after = part[i:], true
		if part == "" {
			break
		}
		i = 0
		for i < len(part) && !alnum(part[i]) {
			i++
		}
		separator := part[:i]
		dashes := all(separator, func(c byte) bool { return c == '-' })
		if !dashes && separator != "." && separator != "_" && separator != "__" {
			return false
		}
		if part = part[i:]; part == "" {
			return false
		}
	}
	return after
}

func checkTag(tag string) string {
	const longest = 128
	word := func(c byte) bool { return anyAlnum(c) || c == '_' }
	switch {
	case tag == "":
		return "its tag is empty"
	case len(tag) > longest:
		return "its tag is longer than 128 characters"
	case !word(tag[0]) || !all(tag, func(c byte) bool { return word(c) || c == '.' || c == '-' }):
		return fmt.Sprintf("tag %q: want letters, digits, '_', and after the first '.' and '-'", tag)
	default:
		return ""
	}
}

// checkDigest accepts the algorithms that content can be checked with.
func checkDigest(digest string) string {
	algorithm, sum, _ := strings.Cut(digest, ":")
	hash := hasher(algorithm)
	switch {
	case hash == nil:
		return fmt.Sprintf("digest %q: want sha256 or sha512", digest)
	case len(sum) != 2*hash.Size() || !all(sum, lowerHex):
		return fmt.Sprintf("digest %q: want %d hexadecimal digits", digest, 2*hash.Size())
	default:
		return ""
	}
}
