package services_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// document is a walkthrough as something to run. In its Markdown there are fenced blocks:
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
type document struct{ sections []*section }

type section struct {
	title, needs string
	steps        []step
}

// step is a block.
type step struct {
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
	document

	mark  string // of the next block
	block *step  // that is open
	lang  string
	files map[string]string
}

func parseDocument(text string) (*document, error) {
	p := &parser{files: map[string]string{}}
	for i, line := range strings.Split(text, "\n") {
		if err := p.add(i+1, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	if p.block != nil {
		return nil, fmt.Errorf("line %d: the block is not closed", p.block.line)
	}
	return &p.document, p.checkParts()
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
		p.block, p.lang = &step{line: n}, lang
		return nil
	}
	title, heading := strings.CutPrefix(line, "## ")
	switch mark, ok := strings.CutPrefix(line, "<!-- test: "); {
	case p.mark != "":
		return fmt.Errorf("the mark %q is for a block, which must be next", p.mark)
	case heading:
		p.sections = append(p.sections, &section{title: title})
	case ok:
		return p.marked(strings.TrimSuffix(mark, " -->"))
	case strings.HasPrefix(line, "    ") || strings.Contains(line, "```") || strings.Contains(line, "<!--"):
		return fmt.Errorf("%q: want a fenced block or a mark, as they are described here", line)
	}
	return nil
}

func (p *parser) marked(mark string) error {
	if thing, ok := strings.CutPrefix(mark, "needs "); ok {
		if len(p.sections) == 0 {
			return fmt.Errorf("%q: want it in a section", mark)
		}
		p.last().needs = thing
		return nil
	}
	p.mark = mark
	return nil
}

func (p *parser) last() *section { return p.sections[len(p.sections)-1] }

// close ends a block.
func (p *parser) close() error {
	s, mark := *p.block, p.mark
	p.block, p.mark = nil, ""
	if len(p.sections) == 0 {
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
	p.last().steps = append(p.last().steps, s)
	return nil
}

// checkParts looks for what is repeated.
func (p *parser) checkParts() error {
	for _, section := range p.sections {
		for _, s := range section.steps {
			if s.part != "" && !strings.Contains(p.files[s.part], "\n"+s.text) {
				return fmt.Errorf("line %d: this is no part of the file %s", s.line, s.part)
			}
		}
	}
	return nil
}

func commands(s step) ([]command, error) {
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
