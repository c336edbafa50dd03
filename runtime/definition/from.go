package definition

import "strings"

// From is the definition file that would build an image from a base alone, as
// "build IMAGE docker://BASE" does. Nobody wrote its lines: they have no numbers.
func From(agent, base string) *Definition {
	// A definition file is lines; a path may hold anything.
	base = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, base)
	return &Definition{
		File:   agent + ":" + base,
		Stages: []Stage{{Header: Header{{Name: "bootstrap", Value: agent}, {Name: "from", Value: base}}}},
		Text:   "bootstrap: " + agent + "\nfrom: " + base + "\n\n",
	}
}
