package definition

import (
	"slices"
	"strings"
)

// sections are those of both peers.
func sections() []string {
	return append(plainSections(),
		"appinstall", "applabels", "appfiles", "appenv", "apptest", "apphelp", "apprun", "appstart")
}

// plainSections are those that are not of an app.
func plainSections() []string {
	return []string{
		"help", "setup", "files", "labels", "environment", "pre", "post", "runscript", "startscript", "test", "arguments",
	}
}

// stage makes a stage of its lines.
func (p *parser) stage(r rawStage) Stage {
	s := Stage{Line: r.first(), Header: p.header(r.header)}
	s.Name = s.Header.Value("stage")
	for _, section := range r.sections {
		p.section(&s, section)
	}
	return s
}

func (p *parser) section(s *Stage, raw rawSection) {
	name, args := raw.name()
	at := raw.head.number
	switch {
	case name == "":
		p.failf(at, "", "a section without a name: there is nothing after the percent sign%s", percentHint(raw))
		return
	case !slices.Contains(sections(), name):
		p.unknown(raw, name)
		return
	}
	p.hidden(raw, name)
	if strings.HasPrefix(name, "app") {
		p.appSection(s, raw, name, args)
		return
	}
	switch name {
	case "files":
		p.files(s, raw, args)
	case "labels":
		p.noArgs(at, name, args)
		s.Labels = append(s.Labels, p.labels("%labels", raw.body)...)
	case "arguments":
		p.noArgs(at, name, args)
	case "help", "environment":
		p.noArgs(at, name, args)
		p.text(s.script(name), raw, Section{Name: name})
	default:
		p.text(s.script(name), raw, Section{Name: name, Args: args})
	}
}

// script is where a section of text goes.
func (s *Stage) script(name string) *Section {
	switch name {
	case "help":
		return &s.Help
	case "environment":
		return &s.Environment
	case "pre":
		return &s.Pre
	case "setup":
		return &s.Setup
	case "post":
		return &s.Post
	case "runscript":
		return &s.Runscript
	case "startscript":
		return &s.Startscript
	default:
		return &s.Test
	}
}

// text adds a section's lines to those of sections of that name above.
func (p *parser) text(to *Section, raw rawSection, s Section) {
	at := raw.head.number
	if n := slices.Index(s.Args, "-c"); n >= 0 && n == len(s.Args)-1 && hasCommand(s.Name) {
		p.failf(at, "%"+s.Name, "-c needs the interpreter after it: %%%s -c /bin/bash", s.Name)
	}
	if to.Line == 0 {
		to.Name, to.Line, to.Args = s.Name, at, s.Args
	} else if len(s.Args) > 0 && !slices.Equal(s.Args, to.Args) {
		if len(to.Args) > 0 {
			p.warnf(at, "%"+s.Name, "its arguments are other than those of line %d: these count", to.Line)
		}
		to.Args = s.Args
	}
	to.Body += join(raw.body)
}

// hasCommand says that a section's arguments are options of the shell that runs it.
func hasCommand(name string) bool { return name == "post" || name == "pre" || name == "setup" }

func (p *parser) noArgs(at int, name string, args []string) {
	if len(args) > 0 {
		p.warnf(at, "%"+name, "nothing reads %s", quote(strings.Join(args, " ")))
	}
}

func (p *parser) unknown(raw rawSection, name string) {
	if p.enough() {
		p.more++
		return
	}
	hint := percentHint(raw)
	if best := nearest(name, sections()); best != "" {
		hint = "; did you mean %" + best + "?"
	}
	p.failf(raw.head.number, "%"+short(name), "unknown section%s", hint)
}

// percentHint helps those who did not mean a section.
func percentHint(raw rawSection) string {
	if raw.head.text != "" && raw.head.text[0] == '%' {
		return "; sections are %" + strings.Join(plainSections(), ", %") + ", and those of apps, such as %apprun"
	}
	return "; a line of a script can't begin with a percent sign, even indented: it begins a section"
}

// hidden warns of a stage that is text of a section, for it is indented.
func (p *parser) hidden(raw rawSection, name string) {
	for _, l := range raw.body {
		text := strings.TrimLeft(l.text, " \t")
		if len(text) == len(l.text) || kindOf(text) != startsStage {
			continue
		}
		_, agent, _ := strings.Cut(text, ":")
		if slices.Contains(agents(), strings.ToLower(strings.TrimSpace(agent))) {
			p.warnf(l.number, "%"+name, "%s is a part of this section: a new stage begins at the left margin", quote(text))
		}
	}
}

// check looks at stages together.
func (p *parser) check() {
	said := false
	lines := map[string]int{}
	for _, s := range p.def.Stages {
		said = said || s.Line > 0 && (len(s.Header) > 0 || !s.bare())
		p.checkHeader(s, len(p.def.Stages) > 1)
		for _, f := range s.Files {
			p.checkFrom(f, s, lines)
		}
		if s.Name == "" {
			continue
		}
		if at, ok := lines[s.Name]; ok {
			p.failf(s.Header.Line("stage"), "", "stage %s: line %d has a stage of that name", quote(s.Name), at)
			continue
		}
		lines[s.Name] = s.Header.Line("stage")
	}
	if !said && len(p.errs) == 0 {
		p.failf(0, "", "there is nothing in it to build")
	}
}

// bare says that no section has anything in it.
func (s Stage) bare() bool {
	for _, one := range []Section{s.Help, s.Environment, s.Pre, s.Setup, s.Post, s.Runscript, s.Startscript, s.Test} {
		if one.Line > 0 {
			return false
		}
	}
	return len(s.Files)+len(s.Labels)+len(s.Apps) == 0
}
