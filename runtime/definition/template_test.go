package definition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgumentsAreExpanded(t *testing.T) {
	for _, c := range []struct {
		name, text string
		args       map[string]string
		want       string
	}{
		{
			"default", "Bootstrap: docker\nFrom: {{ IMAGE }}:{{TAG}}\n%arguments\n  IMAGE = debian \n  # TAG=x\n  TAG=12\n", nil,
			"Bootstrap: docker\nFrom: debian:12\n%arguments\n  IMAGE = debian \n  # TAG=x\n  TAG=12\n",
		},
		{"command line before default", "%arguments\nA=1\n%post\n{{ A }}\n", map[string]string{"A": "2"}, "%arguments\nA=1\n%post\n2\n"},
		{"default of another", "%arguments\nA=1\nB={{ A }}2\n%post\n{{ B }}\n", nil, "%arguments\nA=1\nB=12\n%post\n12\n"},
		{"empty", "%arguments\nA=\n%post\n[{{ A }}]\n", nil, "%arguments\nA=\n%post\n[]\n"},
		{"not an argument", "%post\n{{ .A }} {{A B}} ${{}} {{}}\n", nil, "%post\n{{ .A }} {{A B}} ${{}} {{}}\n"},
		{"not twice", "%post\n{{ A }}\n", map[string]string{"A": "{{ B }}"}, "%post\n{{ B }}\n"},
		{"several lines", "%post\necho '{{ A }}'\n", map[string]string{"A": "1\n2"}, "%post\necho '1\n2'\n"},
		{
			"of a stage", "Bootstrap: docker\nFrom: {{ A }}\n%arguments\nA=1\nBootstrap: docker\nFrom: {{ A }}\n%arguments\nA=2\n", nil,
			"Bootstrap: docker\nFrom: 1\n%arguments\nA=1\nBootstrap: docker\nFrom: 2\n%arguments\nA=2\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := parse(t, c.text, c.args).Text; got != c.want {
				t.Errorf("Text = %q, want %q", got, c.want)
			}
		})
	}
}

func TestValuesBeginNoSection(t *testing.T) {
	for name, c := range map[string]struct{ text, value string }{
		"a section":           {"%post\n{{ A }}\n", "%setup"},
		"a line of a section": {"%post\n{{ A }}\n", "x\n  %setup\nrm -rf /"},
		"a stage":             {"%post\n{{ A }}\n", "x\nBootstrap: docker"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.def", []byte(c.text), map[string]string{"A": c.value})
			if err == nil || !strings.HasPrefix(err.Error(), "x.def:2: the value of an argument would begin a section or a stage here") {
				t.Errorf("Parse() = %v, want a refusal of the value", err)
			}
		})
	}
}

func TestValuesDoNotGrowWithoutEnd(t *testing.T) {
	var text strings.Builder
	text.WriteString("%arguments\nA0=0123456789\n")
	for i := range 60 {
		before, after := string(rune('0'+i%10)), string(rune('0'+(i+1)%10))
		text.WriteString("A" + after + "=" + strings.Repeat("{{ A"+before+" }}", 10) + "\n")
	}
	_, err := Parse("x.def", []byte(text.String()), nil)
	if err == nil || !strings.Contains(err.Error(), "the values of arguments put in up to here are more than") {
		t.Errorf("Parse() = %v, want a refusal of the size", err)
	}
}

func TestReadArguments(t *testing.T) {
	got, err := ReadArguments("args", []byte("\n# c\nA=1\n B = x = y \r\nC=\nA=2\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"A": "2", "B": "x = y", "C": ""}, got); diff != "" {
		t.Errorf("ReadArguments() (-want +got):\n%s", diff)
	}
	if _, err := ReadArguments("args", []byte("A=1\nB\n")); err == nil || err.Error() != `args:2: "B" is not NAME=VALUE` {
		t.Errorf("ReadArguments() = %v, want an error with a line", err)
	}
	if got, err := ReadArguments("args", nil); err != nil || len(got) > 0 {
		t.Errorf("ReadArguments() of nothing = %v, %v; want nothing", got, err)
	}
}

func TestReadArgument(t *testing.T) {
	if name, value, err := ReadArgument("A=b=c"); name != "A" || value != "b=c" || err != nil {
		t.Errorf("ReadArgument() = %q, %q, %v; want A, b=c", name, value, err)
	}
	if _, _, err := ReadArgument("A"); err == nil || err.Error() != `build argument: "A" is not NAME=VALUE` {
		t.Errorf("ReadArgument() = %v, want an error", err)
	}
}
