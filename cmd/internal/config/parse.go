package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// parse reads a file's text over the defaults and finds all that is wrong with it. What
// is wrong leaves the default.
func parse(name, text string) (*Config, places, Problems) {
	c := Defaults()
	at := places{"": name}
	tree := map[string]any{}
	_, err := toml.Decode(text, &tree)
	if broken, ok := errors.AsType[toml.ParseError](err); ok {
		// The line that it tells is one less where lines end with a carriage return.
		start := min(max(broken.Position.Start, 0), len(text))
		line := max(broken.Position.Line, 1+strings.Count(text[:start], "\n"))
		message := broken.Message
		if key, first := twice(text, line); first > 0 {
			message = fmt.Sprintf("%s: is set in line %d already; leave one of them out", key, first)
		}
		return c, at, Problems{{fmt.Sprintf("%s:%d", name, line), message}}
	}
	if err != nil {
		return c, at, Problems{{name, err.Error()}}
	}
	at.find(name, text)
	problems := fill(c, settings(), tree, "", at)
	problems = append(problems, c.readHandlers(tree["handlers"], at)...)
	slices.SortStableFunc(problems, func(a, b Problem) int { return at.order(a.Where) - at.order(b.Where) })
	return c, at, problems
}

// fill reads the keys of one table into c. Above is the table's name and a dot.
func fill[T any](c *T, known []setting[T], table map[string]any, above string, at places) (problems Problems) {
	for name, value := range table {
		where := at.of(above + name)
		i := slices.IndexFunc(known, func(s setting[T]) bool { return s.name == name })
		switch {
		case i >= 0:
			s := known[i]
			if err := s.read(c, value); err != nil {
				problems = append(problems, Problem{where, above + err.Error()})
				continue
			}
			for _, p := range s.verify(c, where) {
				problems = append(problems, Problem{p.Where, above + p.Text})
			}
		case above == "" && name == handlersTable:
		default:
			names := make([]string, 0, len(known))
			for _, s := range known {
				names = append(names, s.name)
			}
			problems = append(problems, Problem{where, unknownKey(above, name, value, names)})
		}
	}
	return problems
}

func unknownKey(above, name string, value any, known []string) string {
	text := fmt.Sprintf("unknown key %q", above+name)
	if _, table := value.(map[string]any); table && above == "" {
		return text + "; the only tables are [handlers.NAME]"
	}
	if meant := nearest(name, known); meant != "" {
		return text + fmt.Sprintf("; did you mean %q?", meant)
	}
	return text
}

// nearest is the word that name is most likely a misspelling of; empty if none is near.
func nearest(name string, words []string) (best string) {
	least := 3 //nolint:mnd // more differences than that are another word
	for _, word := range words {
		if d := distance(strings.ReplaceAll(name, "-", "_"), word); d < least {
			best, least = word, d
		}
	}
	return best
}

// distance counts the letters to change, add or remove.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
