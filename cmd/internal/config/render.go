package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// width of the comments.
const width = 100

// DefaultFile is the whole file with everything as it is by default.
func DefaultFile() string { return Write(Defaults()) }

// Write is the file that says what c says, every key explained. What has no value to
// write, and an example of a handler, come as comments.
func Write(c *Config) string {
	var b strings.Builder
	b.WriteString("# siflet's node agent reads this file when it starts, and again on SIGHUP (systemctl reload).\n" +
		"# A key that is left out has its default; flags of \"siflet agent\" win over the file.\n" +
		"# \"siflet config check\" says what is wrong with it.\n")
	usual := Defaults()
	for _, s := range settings() {
		if s.section != "" {
			fmt.Fprintf(&b, "\n##### %s\n", s.section)
		}
		write(&b, &s, c, usual)
	}
	b.WriteString("\n##### Handlers\n\n")
	comment(&b, "A table [handlers.NAME] makes a handler for the RuntimeClasses whose handler is NAME; pods that name none "+
		"run as the keys say that are named here, by default. Another handler than those that are here is refused.")
	names := handlerNames(c)
	for _, name := range names {
		h, usual := c.Handlers[name], DefaultHandler()
		fmt.Fprintf(&b, "\n[handlers.%s]\n", name)
		for _, s := range handlerSettings() {
			write(&b, &s, &h, &usual)
		}
	}
	if len(names) > 0 {
		return b.String()
	}
	h := DefaultHandler()
	var example strings.Builder
	for _, s := range handlerSettings() {
		write(&example, &s, &h, &h)
	}
	b.WriteString("#\n# [handlers.NAME]\n")
	for line := range strings.Lines(example.String()) {
		if strings.HasPrefix(line, "#") || line == "\n" {
			b.WriteString(strings.TrimRight("#"+strings.TrimPrefix(line, "#"), " \n") + "\n")
			continue
		}
		b.WriteString("# " + line)
	}
	return b.String()
}

func write[T any](b *strings.Builder, s *setting[T], c, usual *T) {
	b.WriteByte('\n')
	comment(b, sentence(s.doc))
	if s.more != "" {
		comment(b, sentence(s.more))
	}
	fmt.Fprintf(b, "# (%s)\n", s.facts(usual))
	value := s.write(c)
	if s.unset != "" && value == s.write(usual) {
		fmt.Fprintf(b, "# %s = %s\n", s.name, s.example)
		return
	}
	fmt.Fprintf(b, "%s = %s\n", s.name, value)
}

// facts are the type, the default, and whether a change needs a restart.
func (s *setting[T]) facts(usual *T) string {
	value := s.write(usual)
	if s.unset != "" {
		value = s.unset
	}
	text := s.typeName() + "; default: " + value
	if s.reload {
		return text + "; reloadable"
	}
	return text + "; needs a restart"
}

// sentence makes one of a phrase.
func sentence(phrase string) string {
	phrase = strings.Join(strings.Fields(phrase), " ")
	first, n := utf8.DecodeRuneInString(phrase)
	return string(unicode.ToUpper(first)) + phrase[n:] + "."
}

// comment writes text in lines.
func comment(b *strings.Builder, text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
