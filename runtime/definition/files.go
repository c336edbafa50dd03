package definition

import (
	"maps"
	"slices"
	"strings"
)

// files reads a %files section: of the host, or "from" a stage.
func (p *parser) files(s *Stage, raw rawSection, args []string) {
	f := Files{Line: raw.head.number}
	switch {
	case len(args) == 0:
	case len(args) == 2 && strings.EqualFold(args[0], "from"):
		f.From = args[1]
	default:
		p.failf(f.Line, "%files", "%s is not understood: write %%files, or %%files from STAGE", quote(strings.Join(args, " ")))
		return
	}
	f.Pairs = p.pairs("%files", raw.body)
	s.Files = append(s.Files, f)
}

// pairs reads lines of a source and, maybe, a target.
func (p *parser) pairs(section string, lines []line) []FilePair {
	var pairs []FilePair
	for _, l := range lines {
		words, problem := paths(l.text)
		switch {
		case problem != "":
			p.failf(l.number, section, "%s", problem)
		case len(words) == 1:
			pairs = append(pairs, FilePair{Source: words[0], Line: l.number})
		case len(words) == 2:
			pairs = append(pairs, FilePair{Source: words[0], Target: words[1], Line: l.number})
		case len(words) > 2:
			p.failf(l.number, section, "%d words, where a source and a target are expected: put quotes around a path with spaces",
				len(words))
		}
	}
	return pairs
}

// paths are the words of a line up to a comment. A word that begins with a quote ends
// with one; elsewhere a quote is a letter, as is a backslash.
func paths(text string) (words []string, problem string) {
	text = strings.TrimSpace(text)
	for text != "" && text[0] != '#' {
		quoted := text[0] == '"' || text[0] == '\''
		var word string
		if quoted {
			end := strings.IndexByte(text[1:], text[0])
			if end < 0 {
				return nil, "the quote before " + quote(text[1:]) + " has no end"
			}
			word, text = text[1:1+end], text[2+end:]
			if text != "" && text[0] != ' ' && text[0] != '\t' {
				return nil, "there is text right after the quoted " + quote(word) + ": put the whole path in quotes"
			}
		} else {
			end := strings.IndexAny(text, " \t")
			if end < 0 {
				end = len(text)
			}
			word, text = text[:end], text[end:]
		}
		if word == "" && len(words) == 0 {
			return nil, "the source is empty"
		}
		words = append(words, word)
		text = strings.TrimLeft(text, " \t")
	}
	return words, ""
}

// checkFrom makes sure that a section copies from a stage that is built before it.
// earlier has the names of such.
func (p *parser) checkFrom(f Files, s Stage, earlier map[string]int) {
	if _, ok := earlier[f.From]; ok || f.From == "" {
		return
	}
	if f.From == s.Name {
		p.failf(f.Line, "%files", "stage %s can't copy from itself", quote(f.From))
		return
	}
	for _, other := range p.def.Stages {
		if other.Name == f.From {
			p.failf(f.Line, "%files", "stage %s is built after this one (line %d): put it before", quote(f.From), other.Line)
			return
		}
	}
	names := slices.Sorted(maps.Keys(earlier))
	hint := suggestion(f.From, names)
	switch {
	case hint != "":
	case len(names) == 0:
		hint = "; name one above with a line \"Stage: " + short(f.From) + "\" in its header"
	default:
		hint = "; stages above are " + strings.Join(names, ", ")
	}
	p.failf(f.Line, "%files", "there is no stage %s%s", quote(f.From), hint)
}

// ParseLabels reads lines of a name and a value, as in %labels and in the file that
// a build's SINGULARITY_LABELS names.
func ParseLabels(text string) []Label {
	var lines []line
	for i, one := range strings.Split(text, "\n") {
		lines = append(lines, line{strings.TrimSuffix(one, "\r"), i + 1})
	}
	p := &parser{def: &Definition{}}
	return p.labels("", lines)
}

// labels are a name and the rest of the line.
func (p *parser) labels(section string, lines []line) []Label {
	var labels []Label
	for _, l := range lines {
		text := strings.TrimSpace(l.text)
		if text == "" || text[0] == '#' {
			continue
		}
		name, value := text, ""
		if at := strings.IndexAny(text, " \t"); at >= 0 {
			name, value = text[:at], strings.TrimSpace(text[at:])
		} else if left, right, ok := strings.Cut(text, "="); ok {
			p.warnf(l.number, section, "%s is a label without a value: a space parts the two, as in \"%s %s\"",
				quote(text), short(left), short(right))
		}
		labels = append(labels, Label{Name: name, Value: value, Line: l.number})
	}
	return labels
}
