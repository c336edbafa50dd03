package definition

import (
	"strings"
)

// appName has nothing in it that means something to a shell or in a path.
func appName(name string) bool {
	const longest = 128
	strange := strings.IndexFunc(name, func(r rune) bool { return !inWord(r) && !strings.ContainsRune(".+@-", r) })
	return name != "" && len(name) <= longest && inWord(rune(name[0])) && strange < 0
}

// inWord tells the letters, digits and underscores of ASCII.
func inWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// appSection reads a section of a SCIF app.
func (p *parser) appSection(s *Stage, raw rawSection, name string, args []string) {
	at := raw.head.number
	switch {
	case len(args) == 0:
		p.failf(at, "%"+name, "it has to name its app: %%%s NAME", name)
		return
	case len(args) > 1:
		p.failf(at, "%"+name, "an app's name is one word, not %s", quote(strings.Join(args, " ")))
		return
	case !appName(args[0]):
		p.failf(at, "%"+name, "%s is no name for an app: it has letters, digits, _ . + @ and -, and begins with a letter, a digit or _",
			quote(args[0]))
		return
	}
	app := s.app(args[0], at)
	part := Section{Name: name + " " + args[0]}
	switch name {
	case "appinstall":
		p.text(&app.Install, raw, part)
	case "appenv":
		p.text(&app.Environment, raw, part)
	case "apprun":
		p.text(&app.Run, raw, part)
	case "appstart":
		p.text(&app.Start, raw, part)
	case "apptest":
		p.text(&app.Test, raw, part)
	case "apphelp":
		p.text(&app.Help, raw, part)
	case "applabels":
		app.Labels = append(app.Labels, p.labels("%"+part.Name, raw.body)...)
	case "appfiles":
		app.Files = append(app.Files, p.pairs("%"+part.Name, raw.body)...)
	}
}

// app is the stage's app of that name. The pointer is good until the next call.
func (s *Stage) app(name string, at int) *App {
	for i := range s.Apps {
		if s.Apps[i].Name == name {
			return &s.Apps[i]
		}
	}
	s.Apps = append(s.Apps, App{Name: name, Line: at})
	return &s.Apps[len(s.Apps)-1]
}
