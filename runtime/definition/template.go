package definition

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// reference is where the value of an argument goes. Other text in double braces
// (of templates, of formats) stays what it is.
func reference() *regexp.Regexp { return regexp.MustCompile(`{{\s*(\w+)\s*}}`) }

// expand puts arguments in all lines of a stage and returns them. A value can be
// several lines, but none of them can begin a section or a stage.
func (p *parser) expand(r *rawStage) []line {
	values := p.defaults(r)
	var all []line
	replace := func(lines []line) []line {
		var done []line
		for _, l := range lines {
			done = append(done, p.expandLine(l, values)...)
		}
		all = append(all, done...)
		return done
	}
	r.header = replace(r.header)
	for i := range r.sections {
		s := &r.sections[i]
		head := replace([]line{s.head})
		rest := replace(s.body)
		s.head, s.body = head[0], append(head[1:len(head):len(head)], rest...)
	}
	return all
}

func (p *parser) expandLine(l line, values map[string]string) []line {
	if !strings.Contains(l.text, "{{") {
		return []line{l}
	}
	text := p.value(l, values)
	if text == l.text {
		return []line{l}
	}
	var list []line
	for i, one := range strings.Split(text, "\n") {
		if want := kindOf(l.text); i > 0 && kindOf(one) != other || i == 0 && kindOf(one) != want {
			p.failf(l.number, "", "the value of an argument would begin a section or a stage here (%q)", short(one))
			return []line{l}
		}
		list = append(list, line{one, l.number})
	}
	return list
}

// value is a line with arguments put in: those of the command line before values.
func (p *parser) value(l line, values map[string]string) string {
	if p.put > maxText || !strings.Contains(l.text, "{{") {
		return l.text
	}
	if p.reference == nil {
		p.reference = reference()
	}
	text := p.reference.ReplaceAllStringFunc(l.text, func(text string) string {
		name := p.reference.FindStringSubmatch(text)[1]
		value, ok := p.args[name]
		if !ok {
			value, ok = values[name]
		}
		if !ok {
			p.undefined(l.number, name, values)
			return text
		}
		p.used[name] = true
		if p.put += len(value); p.put > maxText {
			return ""
		}
		return value
	})
	if p.put > maxText {
		p.failf(l.number, "", "the values of arguments put in up to here are more than %d bytes", maxText)
		return l.text
	}
	return text
}

func (p *parser) undefined(at int, name string, values map[string]string) {
	hint := ""
	if !p.enough() {
		hint = suggestion(name, slices.Concat(slices.Sorted(maps.Keys(values)), slices.Sorted(maps.Keys(p.args))))
	}
	p.failf(at, "", "{{ %s }} has no value: give it with --build-arg %s=VALUE, or a default with a line %s=VALUE in %%arguments%s",
		short(name), short(name), short(name), hint)
}

// defaults are the values of a stage's %arguments. One may use those above it, and
// those of the command line.
func (p *parser) defaults(r *rawStage) map[string]string {
	values := map[string]string{}
	for _, s := range r.sections {
		if name, _ := s.name(); name != "arguments" {
			continue
		}
		for _, l := range s.body {
			text := strings.TrimSpace(l.text)
			if text == "" || text[0] == '#' {
				continue
			}
			name, value, err := pair(text)
			if err != "" {
				p.failf(l.number, "%arguments", "%s", err)
				continue
			}
			values[name] = p.value(line{value, l.number}, values)
		}
	}
	return values
}

// unused warns of values that nothing asks for.
func (p *parser) unused() {
	for _, name := range slices.Sorted(maps.Keys(p.args)) {
		if !p.used[name] {
			p.warnf(0, "", "nothing in the file uses the build argument %s%s", short(name),
				suggestion(name, slices.Sorted(maps.Keys(p.used))))
		}
	}
}

func argumentName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool { return !inWord(r) }) < 0
}

// pair takes NAME=VALUE apart, or says what is wrong with it.
func pair(text string) (name, value, problem string) {
	name, value, ok := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	switch {
	case !ok:
		return "", "", quote(text) + " is not NAME=VALUE"
	case !argumentName(name):
		return "", "", quote(name) + " is no name for an argument: use letters, digits and _"
	}
	return name, strings.TrimSpace(value), ""
}

// ReadArguments reads a file of build arguments: a NAME=VALUE a line, empty lines
// and comments. The last value of a name counts. name is for errors.
func ReadArguments(name string, text []byte) (map[string]string, error) {
	p := &parser{def: &Definition{File: name}}
	values := map[string]string{}
	if len(strings.TrimSpace(string(text))) == 0 {
		return values, nil
	}
	lines, err := p.lines(text)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		text := strings.TrimSpace(l.text)
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, problem := pair(text)
		if problem != "" {
			p.failf(l.number, "", "%s", problem)
			continue
		}
		values[name] = value
	}
	return values, p.err()
}

// ReadArgument takes a NAME=VALUE of the command line apart.
func ReadArgument(text string) (name, value string, err error) {
	name, value, problem := pair(text)
	switch {
	case problem != "":
		return "", "", &Error{File: "build argument", Message: problem}
	case strings.Contains(value, "\x00"):
		return "", "", &Error{File: "build argument", Message: name + " has a NUL byte"}
	}
	return name, value, nil
}
