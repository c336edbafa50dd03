package definition

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse holds that nothing makes Parse panic, and that what is kept in the image
// is read as what the image was built from.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("Bootstrap: docker\nFrom: {{ A }}\nStage: b\n%arguments\nB={{A}}\n%files from b\nBootstrap: yum\nInclude: a\\\n \\n\\\nb\n%post\n{{ B }}\n")
	f.Add("Bootstrap: docker\nFrom: x\n%\r\n%post\r\n%\v#\n% post\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse("x.def", []byte(text), map[string]string{"A": "1\n2"})
		if err != nil {
			if utf8.ValidString(text) && !utf8.ValidString(err.Error()) {
				t.Errorf("Parse() = %q, which is no text", err)
			}
			return
		}
		if len(d.Stages) == 0 {
			t.Fatal("Parse() found no stages and no error")
		}
		if strings.Contains(d.Text, "{{") {
			return
		}
		again, err := Parse("x.def", []byte(d.Text), nil)
		if err != nil {
			t.Fatalf("Parse() of its own text = %v", err)
		}
		if strings.Count(d.Text, "\n") == strings.Count(strings.TrimSuffix(text, "\n")+"\n", "\n") {
			if diff := cmp.Diff(d.Stages, again.Stages); diff != "" {
				t.Errorf("Stages (-first +again):\n%s", diff)
			}
		}
	})
}
