package definition

import "strings"

// kind is what a line does to the structure of the file.
type kind int

const (
	other kind = iota
	startsStage
	startsSection
)

// rawStage is a stage's lines by what they belong to.
type rawStage struct {
	header   []line
	sections []rawSection
}

type rawSection struct {
	head line
	body []line
}

// kindOf is the same as in both peers: a section is a line whose first word begins
// with a percent sign, a stage is one that begins with "bootstrap:" at the margin.
func kindOf(text string) kind {
	const stage = "bootstrap:"
	switch {
	case strings.HasPrefix(strings.TrimLeft(text, " \t"), "%"):
		return startsSection
	case len(text) >= len(stage) && strings.EqualFold(text[:len(stage)], stage):
		return startsStage
	default:
		return other
	}
}

// split finds stages and sections. Lines before the first stage, which may hold
// other keys of its header, are a part of it.
func (p *parser) split(lines []line) []rawStage {
	stages := []rawStage{{}}
	stage, bootstrapped := &stages[0], false
	count := 0
	for _, l := range lines {
		k := kindOf(l.text)
		if k != other {
			count++
		}
		if count > maxSections {
			p.failf(l.number, "", "there are more than %d stages and sections", maxSections)
			return nil
		}
		switch k {
		case startsStage:
			if bootstrapped || len(stage.sections) > 0 {
				stages = append(stages, rawStage{})
				stage = &stages[len(stages)-1]
			}
			bootstrapped = true
			stage.header = append(stage.header, l)
		case startsSection:
			stage.sections = append(stage.sections, rawSection{head: l})
		default:
			if n := len(stage.sections); n > 0 {
				stage.sections[n-1].body = append(stage.sections[n-1].body, l)
			} else {
				stage.header = append(stage.header, l)
			}
		}
	}
	return stages
}

// first is the number of the stage's first line that says something.
func (r rawStage) first() int {
	for _, l := range r.header {
		if text := strings.TrimSpace(l.text); text != "" && text[0] != '#' {
			return l.number
		}
	}
	if len(r.sections) > 0 {
		return r.sections[0].head.number
	}
	return 1
}

// name is a section's name in lower case and the words after it, without a comment.
func (s rawSection) name() (name string, args []string) {
	text := strings.TrimLeft(strings.TrimLeft(s.head.text, " \t"), "%")
	text, _, _ = strings.Cut(text, "#")
	words := strings.Fields(text)
	if len(words) == 0 || !strings.HasPrefix(text, words[0]) {
		return "", nil
	}
	if len(words) > 1 {
		args = words[1:]
	}
	return strings.ToLower(words[0]), args
}
