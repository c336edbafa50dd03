package trust

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// pattern is a name with * (anything but a slash), ** (anything) and ? in it.
// One for images in registries matches every tag and digest unless it names
// some itself.
type pattern struct {
	text         string
	name         *regexp.Regexp
	tag, digest  *regexp.Regexp // nil: any
	isPath, wild bool           // wild: for paths and for registries
}

func glob(text string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`\A`)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "**"):
			b.WriteString(`.*`)
			i++
		case c == '*':
			b.WriteString(`[^/]*`)
		case c == '?':
			b.WriteString(`[^/]`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`\z`)
	return regexp.Compile(`(?s)` + b.String())
}

const maxPattern = 1 << 10

func parsePattern(text string) (pattern, error) {
	p := pattern{text: text, isPath: strings.HasPrefix(text, "/"), wild: strings.HasPrefix(text, "*")}
	if text == "" || len(text) > maxPattern {
		return p, fmt.Errorf("images: pattern %.40q has no length between 1 and %d", text, maxPattern)
	}
	if p.isPath {
		if path.Clean(text) != text {
			return p, fmt.Errorf("images: pattern %q is no clean path: %s", text, path.Clean(text))
		}
		var err error
		p.name, err = glob(text)
		return p, err
	}
	host, _, deep := strings.Cut(text, "/")
	if !p.wild && !strings.Contains(text, "://") && (!deep || !strings.ContainsAny(host, ".:*") && host != "localhost") {
		return p, fmt.Errorf("images: pattern %q names no registry: write docker.io/library/NAME, HOST/NAME, /PATH or **", text)
	}
	n := splitName(text)
	var err error
	if p.name, err = glob(n.name); err != nil {
		return p, err
	}
	if n.tag != "" {
		if p.tag, err = glob(n.tag); err != nil {
			return p, err
		}
	}
	if len(n.digests) > 0 {
		p.digest, err = glob(n.digests[0])
	}
	return p, err
}

// imageName is a reference taken apart and put in the form in which names of
// one place are one name.
type imageName struct {
	name, tag string
	digests   []string
	isPath    bool
	// place is where a name on the web leads whatever its query, and whether
	// encrypted or not.
	place string
}

// pathOf is the path of a file that a reference names: "/shared/x.sif",
// "sif:///shared/x.sif".
func pathOf(ref string) (string, bool) {
	for _, scheme := range []string{"", "sif://", "file://"} {
		if file, ok := strings.CutPrefix(ref, scheme); ok && strings.HasPrefix(file, "/") {
			return file, true
		}
	}
	return "", false
}

func splitName(ref string) imageName {
	if file, ok := pathOf(ref); ok {
		return imageName{name: path.Clean(file), isPath: true}
	}
	if n, ok := webName(ref); ok {
		return n
	}
	var n imageName
	scheme, rest, ok := strings.Cut(ref, "://")
	if !ok {
		scheme, rest = "", ref
	}
	rest, digest, pinned := strings.Cut(rest, "@")
	if pinned {
		n.digests = []string{digest}
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') && (ok || strings.ContainsAny(rest, "/*")) {
		rest, n.tag = rest[:i], rest[i+1:]
	}
	host, repository, ok := strings.Cut(rest, "/")
	if ok {
		rest = registryHost(host) + "/" + repository
	}
	switch strings.ToLower(scheme) {
	case "", "docker", "oras":
		// How an image comes out of a registry doesn't make it another one.
		n.name = rest
	default:
		n.name = strings.ToLower(scheme) + "://" + rest
	}
	return n
}

// webName reads a web address, in which a path can be spelled in many ways.
func webName(ref string) (imageName, bool) {
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return imageName{}, false
	}
	at := registryHost(u.Host) + path.Clean("/"+u.Path)
	n := imageName{name: u.Scheme + "://" + at, place: "https://" + at}
	if u.RawQuery != "" {
		n.name += "?" + u.RawQuery
	}
	return n, true
}

// libraryNames are the names of an image in a library, where the library, entity
// and collection that are meant without being written may be written too.
func libraryNames(ref string) []string {
	rest, ok := strings.CutPrefix(ref, "library://")
	if !ok {
		return nil
	}
	if host, inside, ok := strings.Cut(rest, "/"); ok && registryHost(host) == "library.sylabs.io" {
		rest = inside
	}
	full := []string{"library/default/", "library/", ""}[min(strings.Count(rest, "/"), 2)] + rest
	var names []string
	for _, implied := range []string{"", "library/", "library/default/"} {
		names = append(names, "library://"+strings.TrimPrefix(full, implied))
	}
	return names
}

// registryHost gives the names of one registry one form.
func registryHost(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Trim(host[i+1:], "0123456789") == "" {
		port := strings.TrimLeft(host[i+1:], "0")
		host = host[:i]
		if port != "" && port != "443" {
			host += ":" + port
		}
	}
	host = strings.TrimSuffix(host, ".")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "docker.io"
	}
	return host
}

// bare says that the reference is an ID, which is nobody's name.
func (n imageName) bare() bool {
	return n.name == "" || !strings.Contains(n.name, "/")
}

// matches says whether the name is one of the pattern's. A name without a tag,
// of an image that was fetched by digest and by no tag, has every tag where
// strict, and none where not.
func (p *pattern) matches(n imageName, strict bool) bool {
	named := p.name.MatchString(n.name) || strict && n.place != "" && p.name.MatchString(n.place)
	if n.isPath != p.isPath && !p.wild || !named {
		return false
	}
	if p.digest != nil && !slices.ContainsFunc(n.digests, p.digest.MatchString) {
		return false
	}
	if p.tag == nil || p.digest != nil {
		return true
	}
	if n.tag == "" {
		return strict
	}
	return p.tag.MatchString(n.tag)
}

// namesOf takes references apart. Of one repository, names by digest are left
// out where there is one by tag: they are the same image, and the tag says more.
func namesOf(references, manifests []string) []imageName {
	var names []imageName
	digests := map[string][]string{}
	tagged := map[string]bool{}
	for _, ref := range references {
		n := splitName(ref)
		if n.bare() {
			continue
		}
		if len(n.digests) > 0 {
			n.tag = "" // what was fetched by digest has it from nobody but the asker
		}
		digests[n.name] = append(digests[n.name], n.digests...)
		tagged[n.name] = tagged[n.name] || n.tag != ""
		names = append(names, n)
	}
	var kept []imageName
	for _, n := range names {
		if n.tag == "" && tagged[n.name] {
			continue
		}
		if !n.isPath {
			n.digests = slices.Concat(digests[n.name], manifests)
		}
		kept = append(kept, n)
	}
	return kept
}
