package walkthrough

import (
	"strings"
	"testing"
)

func TestDocumentIsReadInOrder(t *testing.T) {
	text := strings.ReplaceAll(strings.Join([]string{
		"# Title", "## One", "<!-- test: needs debian -->", "~~~console", "$ first \\", "  second", "out ...", "", "$ third", "~~~",
		"<!-- test: file a.def -->", "~~~singularity", "Bootstrap: docker", "From: x", "~~~",
		"<!-- test: part of a.def -->", "~~~singularity", "From: x", "~~~",
		"## Two", "<!-- test: not run: no network -->", "~~~console", "$ never", "~~~",
		"<!-- test: until it works -->", "~~~console", "$ shell", "Singularity> id", "root", "Singularity> exit", "~~~",
	}, "\n"), "~~~", "```")
	d, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Sections) != 2 || d.Sections[0].Needs != "debian" || len(d.Sections[0].Steps) != 3 || len(d.Sections[1].Steps) != 1 {
		t.Fatalf("Parse() = %+v", d.Sections)
	}
	first := d.Sections[0].Steps[0].commands
	if len(first) != 2 || first[0].text != "first \\\n  second" || len(first[0].want) != 1 || first[1].text != "third" || first[1].line != 9 {
		t.Errorf("commands %+v", first)
	}
	shell := d.Sections[1].Steps[0]
	if !shell.patient || !shell.commands[0].interactive() || strings.Join(shell.commands[0].typed(), ",") != "id,exit" {
		t.Errorf("the shell is %+v", shell)
	}
}

func TestDocumentHasNothingThatIsNotRun(t *testing.T) {
	for name, text := range map[string]string{
		"another language":   "```sh\nls\n```",
		"no command":         "```console\nls\n```",
		"indented":           "text\n\n    $ ls\n",
		"an open block":      "```console\n$ ls\n",
		"a mark for nothing": "<!-- test: file x -->\n\n```console\n$ ls\n```",
		"an unknown mark":    "<!-- test: skip -->\n```console\n$ ls\n```",
		"no reason":          "<!-- test: not run -->\n```console\n$ ls\n```",
		"no such part":       "<!-- test: file x -->\n```\na\nb\n```\n<!-- test: part of x -->\n```\nc\n```",
		"another comment":    "<!-- hidden\n```console\n$ ls\n```\n-->",
	} {
		if _, err := Parse("## Section\n" + text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestOutputMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		matches   bool
	}{
		{"NAME PID\nweb ... /.../web.sif", "NAME    PID\nweb     17     /root/web.sif\n", true},
		{"NAME PID", "NAME    PID\nweb     17\n", false},
		{"first\n...\nlast", "first\nlast\n", true},
		{"first\n...\nlast", "first\na\nb\nlast", true},
		{"first\n...\nlast", "first\na\nlast\nb\n", false},
		{"a.b", "aXb\n", false},
		{"a\n\nb", "a\n\nb\n", true},
		{"...", "", true},
	} {
		if got := matches(strings.Split(c.want, "\n"), c.got); got != c.matches {
			t.Errorf("matches(%q, %q) = %v, want %v", c.want, c.got, got, c.matches)
		}
	}
}
