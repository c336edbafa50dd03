// Package walkthrough does what a document tells people to do, line by line, and compares what
// commands write with what is shown.
package walkthrough

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Document is a walkthrough as something to run. In its Markdown there are fenced blocks:
//
//	```console                     lines "$ COMMAND" and, if they are shown, what the commands write
//	<!-- test: file NAME -->       the next block is a file, which is made
//	<!-- test: part of NAME -->    the next block repeats lines of that file
//	<!-- test: until it works -->  the commands of the next block are tried again for a while
//	<!-- test: fails -->           the commands of the next block fail
//	<!-- test: not run: WHY -->    the next block
//	<!-- test: needs THING -->     the whole section, between two headings of the second level
//
// Whatever else could be taken for something to run is a mistake.
type Document struct{ Sections []*Section }

// Section is what is between two headings of the second level.
type Section struct {
	Title, Needs string
	Steps        []Step
}

// Step is a block.
type Step struct {
	line int
	// file and part name the file that the block is or repeats; if both are empty it
	// is commands.
	file, part string
	text       string
	commands   []command
	// patient commands are tried again until they work; failing ones must fail.
	patient, failing bool
}

// command is one line, and what it writes if that is shown.
type command struct {
	line int
	text string
	want []string
}

// prompt is where a person types.
const prompt = "Singularity> "

// interactive says that a person types something.
func (c command) interactive() bool {
	return slices.ContainsFunc(c.want, func(line string) bool { return strings.HasPrefix(line, prompt) })
}

// typed is what, line by line.
func (c command) typed() []string {
	var lines []string
	for _, line := range c.want {
		if text, ok := strings.CutPrefix(line, prompt); ok {
			lines = append(lines, text)
		}
	}
	return lines
}

// parser reads a document line by line.
type parser struct {
	Document

	mark  string // of the next block
	block *Step  // that is open
	lang  string
	files map[string]string
}

// Parse reads a document.
func Parse(text string) (*Document, error) {
	p := &parser{files: map[string]string{}}
	for i, line := range strings.Split(text, "\n") {
		if err := p.add(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.block != nil {
		return nil, fmt.Errorf("line %d: the block is not closed", p.block.line)
	}
	return &p.Document, p.checkParts()
}

func (p *parser) add(n int, line string) error {
	if p.block != nil {
		if line != "```" {
			p.block.text += line + "\n"
			return nil
		}
		return p.close()
	}
	if lang, ok := strings.CutPrefix(line, "```"); ok {
		p.block, p.lang = &Step{line: n}, lang
		return nil
	}
	title, heading := strings.CutPrefix(line, "## ")
	switch mark, ok := strings.CutPrefix(line, "<!-- test: "); {
	case p.mark != "":
		return fmt.Errorf("the mark %q is for a block, which must be next", p.mark)
	case heading:
		p.Sections = append(p.Sections, &Section{Title: title})
	case ok:
		return p.marked(strings.TrimSuffix(mark, " -->"))
	case strings.HasPrefix(line, "    ") || strings.Contains(line, "```") || strings.Contains(line, "<!--"):
		return fmt.Errorf("%q: want a fenced block or a mark, as they are described here", line)
	}
	return nil
}

func (p *parser) marked(mark string) error {
	if thing, ok := strings.CutPrefix(mark, "needs "); ok {
		if len(p.Sections) == 0 {
			return fmt.Errorf("%q: want it in a section", mark)
		}
		p.last().Needs = thing
		return nil
	}
	p.mark = mark
	return nil
}

func (p *parser) last() *Section { return p.Sections[len(p.Sections)-1] }

// close ends a block.
func (p *parser) close() error {
	s, mark := *p.block, p.mark
	p.block, p.mark = nil, ""
	if len(p.Sections) == 0 {
		return errors.New("the block comes before the first section")
	}
	verb, rest, _ := strings.Cut(mark, " ")
	switch {
	case strings.HasPrefix(mark, "not run: "):
		return nil
	case verb == "file" && rest != "":
		s.file = rest
		p.files[rest] += "\n" + s.text
	case strings.HasPrefix(mark, "part of "):
		s.part = strings.TrimPrefix(mark, "part of ")
	case p.lang != "console":
		return fmt.Errorf("a block of %q is marked %q: want a file, a part of one, or why it is not run", p.lang, mark)
	case mark == "" || mark == "until it works" || mark == "fails":
		s.patient, s.failing = mark == "until it works", mark == "fails"
		var err error
		if s.commands, err = commands(s); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown mark %q", mark)
	}
	p.last().Steps = append(p.last().Steps, s)
	return nil
}

// checkParts looks for what is repeated.
func (p *parser) checkParts() error {
	for _, section := range p.Sections {
		for _, s := range section.Steps {
			if s.part != "" && !strings.Contains(p.files[s.part], "\n"+s.text) {
				return fmt.Errorf("line %d: this is no part of the file %s", s.line, s.part)
			}
		}
	}
	return nil
}

func commands(s Step) ([]command, error) {
	var all []command
	continued := false
	for i, line := range strings.Split(strings.TrimSuffix(s.text, "\n"), "\n") {
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case continued:
			all[len(all)-1].text += "\n" + line
		case isCommand:
			all = append(all, command{line: s.line + 1 + i, text: text})
		case len(all) == 0:
			return nil, fmt.Errorf("%q: want the block to begin with a command", line)
		default:
			all[len(all)-1].want = append(all[len(all)-1].want, line)
		}
		continued = (isCommand || continued) && strings.HasSuffix(line, `\`)
	}
	for i, c := range all {
		for len(c.want) > 0 && c.want[len(c.want)-1] == "" {
			c.want = c.want[:len(c.want)-1]
		}
		all[i] = c
	}
	return all, nil
}

// matches says whether a command wrote what is shown: "..." stands for any text in a line
// or, alone, for any lines; columns may have another width. Where nothing is shown
// everything is as wanted.
func matches(want []string, got string) bool {
	if len(want) == 0 {
		return true
	}
	var pattern strings.Builder
	for _, line := range want {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		var words []string
		for word := range strings.FieldsSeq(line) {
			words = append(words, strings.ReplaceAll(regexp.QuoteMeta(word), `\.\.\.`, ".*"))
		}
		pattern.WriteString(`[ \t]*` + strings.Join(words, `[ \t]+`) + `[ \t]*\n`)
	}
	if got != "" && !strings.HasSuffix(got, "\n") {
		got += "\n"
	}
	return regexp.MustCompile("^" + pattern.String() + "$").MatchString(got)
}
