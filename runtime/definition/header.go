package definition

import (
	"slices"
	"strings"
)

// keys are those of both peers, and three of our own: keyring, variant and components.
func keys() []string {
	return []string{
		"bootstrap", "from", "includecmd", "mirrorurl", "updateurl", "osversion", "include", "library", "registry", "namespace", "stage",
		"product", "user", "regcode", "productpgp", "registerurl", "modules", "fingerprints", "setopt", "confurl", "target", "frontend",
		"filename", "buildargs", "keyring", "variant", "components",
	}
}

func numbered(key string) bool {
	const longest = 3
	number, ok := strings.CutPrefix(key, "otherurl")
	return ok && number != "" && len(number) <= longest && strings.Trim(number, "0123456789") == ""
}

// maxValue is more than any key needs: PGP keys are the longest.
const maxValue = 32 << 10

// agents say where a base comes from.
func agents() []string {
	return append(agentsFrom(), "scratch", "busybox", "debootstrap", "arch", "yum", "dnf", "zypper", "buildkit", "dockerfile")
}

// agentsFrom are those to whom from: names the base.
func agentsFrom() []string {
	return []string{
		"docker", "docker-archive", "docker-daemon", "oci", "oci-archive", "oras", "library", "shub", "localimage",
	}
}

// header reads the head of a stage. A comment ends a line, a backslash continues it.
func (p *parser) header(lines []line) Header {
	var header Header
	for i := 0; i < len(lines); i++ {
		text, _ := content(lines[i].text)
		if text == "" {
			continue
		}
		at := lines[i].number
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			p.failf(at, "", "%s is no line of a header, which are like KEY: VALUE%s", quote(text), headerHint(text))
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		for strings.HasSuffix(value, `\`) && i+1 < len(lines) && len(value) < maxValue {
			i++
			text, comment := content(lines[i].text)
			if text == "" && comment {
				continue
			}
			value = continued(value) + text
			if text == "" {
				break
			}
		}
		if len(value) >= maxValue {
			p.failf(at, "", "the value of %s is longer than %d bytes", quote(name), maxValue)
			continue
		}
		header = p.key(header, Key{name, continued(value), at})
	}
	return header
}

// content is what a line of a header says before its comment.
func content(text string) (says string, comment bool) {
	says, _, comment = strings.Cut(text, "#")
	return strings.TrimSpace(says), comment
}

// continued is a value without a backslash at its end. One of "\n\" breaks the line.
func continued(value string) string {
	value, ok := strings.CutSuffix(value, `\`)
	if !ok {
		return value
	}
	if before, ok := strings.CutSuffix(value, `\n`); ok {
		return before + "\n"
	}
	return value
}

func (p *parser) key(h Header, k Key) Header {
	if !slices.Contains(keys(), k.Name) && !numbered(k.Name) {
		hint := ""
		if !p.enough() {
			hint = suggestion(k.Name, keys())
		}
		p.failf(k.Line, "", "%s is no key of a header%s", quote(k.Name), hint)
		return h
	}
	if k.Name == "includecmd" && !isBool(k.Value) {
		p.failf(k.Line, "", "includecmd is %s: it can be yes or no", quote(k.Value))
	}
	for i := range h {
		if h[i].Name == k.Name {
			p.warnf(k.Line, "", "%s is here for the second time: this one counts, not that of line %d", k.Name, h[i].Line)
			h[i] = k
			return h
		}
	}
	return append(h, k)
}

func isBool(text string) bool {
	switch strings.ToLower(text) {
	case "yes", "true", "y", "1", "on", "no", "false", "n", "0", "off", "":
		return true
	}
	return false
}

// headerHint helps those whose section or Dockerfile this is.
func headerHint(text string) string {
	word, _, _ := strings.Cut(text, " ")
	switch word {
	case "FROM", "RUN", "COPY", "ADD", "CMD", "ENTRYPOINT", "ENV", "WORKDIR", "ARG":
		return "; it looks like one of a Dockerfile"
	}
	if best := nearest(strings.ToLower(word), sections()); best != "" {
		return "; did you mean %" + best + "?"
	}
	return "; commands go into a section, such as %post"
}

// checkHeader looks at what the keys of a stage say together.
func (p *parser) checkHeader(s Stage, several bool) {
	if len(s.Header) == 0 && !several {
		return // fine for a build into what is there
	}
	at := s.Line
	agent := s.Header.Bootstrap()
	if agent == "" {
		p.failf(at, "", "the stage does not say where its base comes from: begin it with a line like \"Bootstrap: docker\"")
		return
	}
	switch {
	case !slices.Contains(agents(), agent):
		hint := suggestion(agent, agents())
		if hint == "" {
			hint = "; it can be " + strings.Join(agents(), ", ")
		}
		p.failf(s.Header.Line("bootstrap"), "", "nobody knows how to bootstrap from %s%s", quote(agent), hint)
	case slices.Contains(agentsFrom(), agent) && s.Header.From() == "":
		p.failf(s.Header.Line("from"), "", "bootstrap %s needs a line \"From: IMAGE\"", agent)
	}
	p.idle(s.Header, agent)
	if name := s.Name; strings.ContainsAny(name, " \t\n") {
		p.failf(s.Header.Line("stage"), "", "stage %s: a stage's name is one word", quote(name))
	}
}

// idle warns of keys that have no meaning for the agent.
func (p *parser) idle(h Header, agent string) {
	used := uses(agent)
	if used == nil {
		return
	}
	for _, k := range h {
		name := k.Name
		if numbered(name) {
			name = "otherurl"
		}
		if !slices.Contains(used, name) && !slices.Contains([]string{"bootstrap", "stage", "includecmd"}, name) {
			p.warnf(k.Line, "", "bootstrap %s has no use for %s", agent, k.Name)
		}
	}
}

// uses are the keys that mean something to an agent, nil if nobody knows.
func uses(agent string) []string {
	switch agent {
	case "docker", "oras", "library", "localimage", "docker-archive", "oci-archive", "oci":
		return []string{"from", "registry", "namespace", "library", "fingerprints"}
	case "scratch":
		return []string{}
	case "busybox":
		return []string{"mirrorurl", "fingerprints"}
	case "debootstrap":
		return []string{"mirrorurl", "osversion", "include", "keyring", "variant", "components"}
	case "yum", "dnf":
		return []string{"mirrorurl", "updateurl", "osversion", "include", "setopt", "keyring"}
	case "zypper":
		return []string{
			"mirrorurl", "updateurl", "otherurl", "osversion", "include", "keyring",
			"product", "user", "regcode", "productpgp", "registerurl", "modules",
		}
	case "arch":
		return []string{"mirrorurl", "include"}
	}
	return nil
}
