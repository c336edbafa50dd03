package trust

import (
	"errors"
	"testing"
)

// TestPolicyKnowsOtherSpellings of a place; a rule that rejects it must not be
// evaded by them.
func TestPolicyKnowsOtherSpellings(t *testing.T) {
	for image, spellings := range map[string][]string{
		"registry.example.org/prod/**": {"registry.example.org:0443/prod/x:1", "REGISTRY.example.org.:443/prod/x:1"},
		"registry.example.org:5000/**": {"registry.example.org:05000/prod/x:1"},
		"https://example.org/prod/*.sif": {
			"https://example.org/prod/x.sif", "https://EXAMPLE.org:/prod/x.sif", "https://example.org:0443/prod/x.sif",
			"https://example.org/%70rod/x.sif", "https://example.org//prod/./x.sif", "https://example.org/prod/x.sif?a=/b",
			"http://example.org/prod/x.sif", "https://me@example.org/prod/x.sif", "https://example.org/prod/x@1.sif",
		},
		"library://library/default/alpine": {"library://alpine:1", "library://default/alpine:1", "library://library.sylabs.io/library/default/alpine:1"},
		"library://alpine":                 {"library://library/default/alpine:1", "library://alpine:latest"},
	} {
		p := newPolicy(t, "[[rule]]\nimages = [\""+image+"\"]\nrequire = \"reject\"\n").load(t)
		for _, ref := range spellings {
			if err := p.Check(t.Context(), Subject{References: []string{ref}}); !errors.Is(err, ErrPolicy) {
				t.Errorf("%s: Check(%s) = %v, want ErrPolicy", image, ref, err)
			}
		}
	}
}

// TestPolicyAcceptsNoOtherAddress than the one that is written.
func TestPolicyAcceptsNoOtherAddress(t *testing.T) {
	p := newPolicy(t, "default = \"reject\"\n[[rule]]\nimages = [\"https://example.org/get\"]\nrequire = \"accept\"\n").load(t)
	for ref, ok := range map[string]bool{
		"https://example.org/get": true, "https://example.org/get?file=other": false, "http://example.org/get": false,
		"https://example.org/get@other": false, "https://example.org/get/../other": false,
	} {
		if err := p.Check(t.Context(), Subject{References: []string{ref}}); (err == nil) != ok {
			t.Errorf("Check(%s) = %v, want accepted: %v", ref, err, ok)
		}
	}
}
