package definition

import "strings"

// From is the definition file that would build an image from a base alone, as
// "build IMAGE docker://BASE" does.
func From(agent, base string) *Definition {
	// A definition file is lines; a path may hold anything.
	base = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, base)
	return &Definition{
		File: agent + ":" + base,
		Stages: []Stage{{Line: 1, Header: Header{
			{Name: "bootstrap", Value: agent, Line: 1}, {Name: "from", Value: base, Line: 2},
		}}},
		Text: "bootstrap: " + agent + "\nfrom: " + base + "\n\n",
	}
}
