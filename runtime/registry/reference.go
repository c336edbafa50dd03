package registry

import (
	"fmt"
	"strings"
)

// The names of Docker Hub: what it is called, what it was called, and where it answers.
const (
	hub       = "docker.io"
	hubLegacy = "index.docker.io"
	hubServer = "registry-1.docker.io"
	official  = "library/"
)

// Reference is a full name, by Docker's rules.
type Reference struct {
	Host       string // "docker.io"
	Repository string // "library/nginx"
	Tag        string // "latest"; may be empty if there is a digest
	Digest     string // "sha256:..."; may be empty; goes before the tag
}

// ParseReference reads "nginx", "localhost:5000/a/b:1.0", "quay.io/x@sha256:...".
// Without tag and digest the tag is latest. All errors are ErrReference.
func ParseReference(text string) (Reference, error) {
	if shown := WithoutUser(text); shown != text {
		return Reference{}, wrong(shown, "a name has no user and password; give them to siflet registry login, or with --docker-username")
	}
	if reason := checkWhole(text); reason != "" {
		return Reference{}, wrong(text, reason)
	}
	host, rest := splitHost(text)
	name, digest, digested := strings.Cut(rest, "@")
	r := Reference{Host: host, Repository: name}
	tagged := false
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		r.Repository, r.Tag, tagged = name[:i], name[i+1:], true
	}
	if host == hub && r.Repository != "" && !strings.Contains(r.Repository, "/") {
		r.Repository = official + r.Repository
	}
	if digested {
		r.Digest = digest
	} else if !tagged {
		r.Tag = "latest"
	}
	if reason := r.check(tagged, digested); reason != "" {
		return Reference{}, wrong(text, reason)
	}
	return r, nil
}

// WithoutUser is a name as others may read it: without the user and the password that
// somebody wrote before its host.
func WithoutUser(name string) string {
	at := strings.LastIndexByte(name, '@')
	if at >= 0 {
		algorithm, _, colon := strings.Cut(name[at+1:], ":")
		if colon && hasher(algorithm) != nil {
			at = strings.LastIndexByte(name[:at], '@')
		}
	}
	if at < 0 {
		return name
	}
	before, after := name[:at], name[at+1:]
	// "app@latest" is a mistake of another kind, with nothing to hide.
	if strings.Contains(after, "/") || !strings.Contains(before, "/") && strings.Contains(before, ":") {
		return after
	}
	return name
}

func wrong(text, reason string) error {
	const most = 300
	if len(text) > most {
		text = text[:most] + "..."
	}
	return &ReferenceError{Text: text, Reason: reason}
}

// ReferenceError is an ErrReference.
type ReferenceError struct {
	// Text is the name, or its beginning if it is long, and Reason what is wrong with it.
	Text, Reason string
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("%v %q: %s", ErrReference, e.Text, e.Reason)
}

// Unwrap gives the error its kind.
func (*ReferenceError) Unwrap() error { return ErrReference }

// checkWhole says what is wrong with the text before it is taken apart.
func checkWhole(text string) string {
	const longest = 4096
	const identifier = 64
	switch {
	case text == "":
		return "it is empty"
	case len(text) > longest:
		return "it is too long"
	case len(text) == identifier && all(text, lowerHex):
		return "a name of 64 hexadecimal digits would be taken for an image ID"
	case strings.Contains(text, "://"):
		return "a name has no scheme"
	default:
		return ""
	}
}

// splitHost tells a host from the first part of a path as Docker does.
func splitHost(text string) (host, rest string) {
	first, rest, ok := strings.Cut(text, "/")
	switch {
	case !ok:
		return hub, text
	case first == hubLegacy:
		return hub, rest
	case first == "localhost", strings.ContainsAny(first, ".:"), strings.ToLower(first) != first:
		return first, rest
	default:
		return hub, text
	}
}

// check says what is wrong with the parts.
func (r Reference) check(tagged, digested bool) string {
	if reason := checkHost(r.Host); reason != "" {
		return reason
	}
	if reason := checkRepository(r.Repository); reason != "" {
		return reason
	}
	if tagged {
		if reason := checkTag(r.Tag); reason != "" {
			return reason
		}
	}
	if digested {
		return checkDigest(r.Digest)
	}
	return ""
}

// Valid says whether the parts make a name that ParseReference would return.
func (r Reference) Valid() error {
	reason := r.check(r.Tag != "", r.Digest != "")
	if reason == "" && r.Tag == "" && r.Digest == "" {
		reason = "it has neither tag nor digest"
	}
	if reason != "" {
		return wrong(r.String(), reason)
	}
	return nil
}

// Name is it without tag and digest.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// String is the full form: "docker.io/library/nginx:latest".
func (r Reference) String() string { return r.Name() + r.suffix() }

func (r Reference) suffix() string {
	text := ""
	if r.Tag != "" {
		text = ":" + r.Tag
	}
	if r.Digest != "" {
		text += "@" + r.Digest
	}
	return text
}

// Familiar is the short form people know: "nginx:latest". It is a name for the same.
func (r Reference) Familiar() string {
	if r.Host != hub {
		return r.String()
	}
	short := r.Repository
	if rest, ok := strings.CutPrefix(short, official); ok && !strings.Contains(rest, "/") {
		short = rest
	}
	// "docker.io/a.b/c" is not "a.b/c".
	if host, _ := splitHost(short); host != hub || strings.HasPrefix(short, hubLegacy+"/") {
		return r.String()
	}
	return short + r.suffix()
}
