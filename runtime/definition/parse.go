package definition

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxText is what readers of SIF files take for a document.
	maxText = 4 << 20
	// maxSections is more than anybody writes.
	maxSections = 2000
	// maxErrors is how many errors are worth reading.
	maxErrors = 10
)

// Parse reads a definition file. name is for errors. args are the values of the
// command line for {{ name }}; they go before those of the file's own %arguments.
// The error is one or several *Error, in the order of lines.
func Parse(name string, text []byte, args map[string]string) (*Definition, error) {
	p := &parser{def: &Definition{File: name}, args: args, used: map[string]bool{}}
	lines, err := p.lines(text)
	if err != nil {
		return nil, err
	}
	raw := p.split(lines)
	if err := p.err(); err != nil {
		return nil, err
	}
	var kept []line
	for i := range raw {
		kept = append(kept, p.expand(&raw[i])...)
	}
	if err := p.err(); err != nil {
		return nil, err // what is wrong with a stage may follow from this
	}
	for _, r := range raw {
		p.def.Stages = append(p.def.Stages, p.stage(r))
	}
	p.check()
	p.unused()
	p.def.Text = join(kept)
	if err := p.err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(p.def.Warnings, byLine)
	return p.def, nil
}

// parser collects errors, so that a person sees them all at once.
type parser struct {
	def  *Definition
	args map[string]string
	// used are the names of arguments that the file asks for.
	used      map[string]bool
	reference *regexp.Regexp // see reference
	// put counts the bytes of the values put in.
	put  int
	errs []*Error
	// more counts the errors after those.
	more int
}

func (p *parser) failf(at int, section, format string, args ...any) {
	if p.enough() {
		p.more++
		return
	}
	p.errs = append(p.errs, &Error{File: p.def.File, Line: at, Section: section, Message: fmt.Sprintf(format, args...)})
}

// enough says that nobody will read another error.
func (p *parser) enough() bool { return len(p.errs) >= maxErrors }

func (p *parser) warnf(at int, section, format string, args ...any) {
	p.def.Warnings = append(p.def.Warnings, &Error{File: p.def.File, Line: at, Section: section, Message: fmt.Sprintf(format, args...)})
}

// err is all errors as one, or nil.
func (p *parser) err() error {
	slices.SortStableFunc(p.errs, byLine)
	switch {
	case len(p.errs) == 0:
		return nil
	case len(p.errs) == 1:
		return p.errs[0]
	}
	var all []error
	for _, e := range p.errs {
		all = append(all, e)
	}
	if p.more > 0 {
		all = append(all, &Error{File: p.def.File, Message: fmt.Sprintf("and %d more errors", p.more)})
	}
	return errors.Join(all...)
}

func byLine(a, b *Error) int { return a.Line - b.Line }

// line is a line of the file, without its end.
type line struct {
	text   string
	number int
}

func join(lines []line) string {
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.text)
		text.WriteByte('\n')
	}
	return text.String()
}

// lines makes lines of the file, whoever's editor wrote it.
func (p *parser) lines(text []byte) ([]line, error) {
	refuse := func(at int, message string) error {
		return &Error{File: p.def.File, Line: at, Message: message}
	}
	switch {
	case len(text) > maxText:
		return nil, refuse(0, fmt.Sprintf("it is larger than %d bytes: this is no definition file", maxText))
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, refuse(0, "it is UTF-16: save it as UTF-8")
	case len(bytes.TrimSpace(text)) == 0:
		return nil, refuse(0, "the definition file is empty")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if at := bytes.IndexByte(text, 0); at >= 0 {
		return nil, refuse(1+bytes.Count(text[:at], []byte("\n")), "it has a NUL byte: this is no text file")
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{\"")) {
		return nil, refuse(1, "this is JSON: a definition file begins with a line like \"Bootstrap: docker\"")
	}
	var list []line
	for i, one := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		list = append(list, line{strings.TrimSuffix(one, "\r"), i + 1})
	}
	return list, nil
}

// short is text for an error: printable, and not too much of it.
func short(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
