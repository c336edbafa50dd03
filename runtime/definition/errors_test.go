package definition

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsSayWhereAndWhatToDo(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no text", " \n\n", "x.def: the definition file is empty"},
		{"comments", "# a\n", "x.def: there is nothing in it to build"},
		{"binary", "Bootstrap: docker\n\x00", "x.def:2: it has a NUL byte: this is no text file"},
		{"UTF-16", "\xff\xfeB\x00", "x.def: it is UTF-16: save it as UTF-8"},
		{"JSON", `{"header": {}}`, `x.def:1: this is JSON: a definition file begins with a line like "Bootstrap: docker"`},
		{"section", "%filez\n", "x.def:1: %filez: unknown section; did you mean %files?"},
		{"section of an app", "%appinstal x\n", "x.def:1: %appinstal: unknown section; did you mean %appinstall?"},
		{
			"percent in a script", "%post\n  %d\n",
			"x.def:2: %d: unknown section; a line of a script can't begin with a percent sign, even indented: it begins a section",
		},
		{"strange section", "%zzzzzzzzzz\n", "x.def:1: %zzzzzzzzzz: unknown section; sections are %help, %setup, %files, %labels, " +
			"%environment, %pre, %post, %runscript, %startscript, %test, %arguments, and those of apps, such as %apprun"},
		{"section without a name", "%post\n% x\n", "x.def:2: a section without a name: there is nothing after the percent sign; " +
			"sections are %help, %setup, %files, %labels, %environment, %pre, %post, %runscript, %startscript, %test, %arguments, " +
			"and those of apps, such as %apprun"},
		{
			"nothing but space", "%post\n %\v\n",
			"x.def:2: a section without a name: there is nothing after the percent sign; " +
				"a line of a script can't begin with a percent sign, even indented: it begins a section",
		},
		{"key", "Bootstrap: docker\nFrm: x\nFrom: x\n", `x.def:2: "frm" is no key of a header; did you mean from?`},
		{"no key", "Bootstrap: docker\nFrom x\nFrom: x\n", `x.def:2: "From x" is no line of a header, which are like KEY: VALUE; ` +
			`commands go into a section, such as %post`},
		{
			"section without a sign", "Bootstrap: docker\nFrom: x\npost\n",
			`x.def:3: "post" is no line of a header, which are like KEY: VALUE; did you mean %post?`,
		},
		{"Dockerfile", "RUN make\n%post\n", `x.def:1: "RUN make" is no line of a header, which are like KEY: VALUE; it looks like one of a Dockerfile`},
		{"includecmd", "Bootstrap: docker\nFrom: x\nIncludeCmd: maybe\n", `x.def:3: includecmd is "maybe": it can be yes or no`},
		{"agent", "Bootstrap: dockr\nFrom: x\n", `x.def:1: nobody knows how to bootstrap from "dockr"; did you mean docker?`},
		{"no agent", "From: x\n", `x.def:1: the stage does not say where its base comes from: begin it with a line like "Bootstrap: docker"`},
		{"no base", "Bootstrap: docker\n", `x.def:1: bootstrap docker needs a line "From: IMAGE"`},
		{
			"stage without a header", "%post\nBootstrap: scratch\n",
			`x.def:1: the stage does not say where its base comes from: begin it with a line like "Bootstrap: docker"`,
		},
		{"name of a stage", "Bootstrap: scratch\nStage: a b\n", `x.def:2: stage "a b": a stage's name is one word`},
		{"no stage", "Bootstrap: scratch\n%files from one\n", `x.def:2: %files: there is no stage "one"; name one above with a line "Stage: one" in its header`},
		{
			"another stage", "Bootstrap: scratch\nStage: build\nBootstrap: scratch\n%files from biuld\n",
			`x.def:4: %files: there is no stage "biuld"; did you mean build?`,
		},
		{
			"later stage", "Bootstrap: scratch\n%files from one\nBootstrap: scratch\nStage: one\n",
			`x.def:2: %files: stage "one" is built after this one (line 3): put it before`,
		},
		{"itself", "Bootstrap: scratch\nStage: one\n%files from one\n", `x.def:3: %files: stage "one" can't copy from itself`},
		{
			"stages of one name", "Bootstrap: scratch\nStage: one\nBootstrap: scratch\nStage: one\n",
			`x.def:4: stage "one": line 2 has a stage of that name`,
		},
		{"arguments of files", "%files form x\n", `x.def:1: %files: "form x" is not understood: write %files, or %files from STAGE`},
		{"three words", "%files\na b c\n", "x.def:2: %files: 3 words, where a source and a target are expected: put quotes around a path with spaces"},
		{"open quote", "%files\n\"a b\n", `x.def:2: %files: the quote before "a b" has no end`},
		{"half a quote", "%files\n\"a\"b\n", `x.def:2: %files: there is text right after the quoted "a": put the whole path in quotes`},
		{"empty source", "%files\n\"\" b\n", `x.def:2: %files: the source is empty`},
		{"interpreter", "%post -c\n", "x.def:1: %post: -c needs the interpreter after it: %post -c /bin/bash"},
		{"app without a name", "%apprun\n", "x.def:1: %apprun: it has to name its app: %apprun NAME"},
		{"app of two words", "%apprun a b\n", `x.def:1: %apprun: an app's name is one word, not "a b"`},
		{
			"app outside", "%apprun ../x\n",
			`x.def:1: %apprun: "../x" is no name for an app: it has letters, digits, _ . + @ and -, and begins with a letter, a digit or _`,
		},
		{"argument", "%arguments\nA\n", `x.def:2: %arguments: "A" is not NAME=VALUE`},
		{"argument's name", "%arguments\na-b=1\n", `x.def:2: %arguments: "a-b" is no name for an argument: use letters, digits and _`},
		{"no argument", "%arguments\nVERSION=1\n%post\n{{ VERSON }}\n", "x.def:4: {{ VERSON }} has no value: give it with " +
			"--build-arg VERSON=VALUE, or a default with a line VERSON=VALUE in %arguments; did you mean VERSION?"},
		{"several", "%pots\n%post\n%files\na b c\n", "x.def:1: %pots: unknown section; did you mean %post?\n" +
			"x.def:4: %files: 3 words, where a source and a target are expected: put quotes around a path with spaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("x.def", []byte(c.text), nil)
			if err == nil || err.Error() != c.want {
				t.Fatalf("Parse() = %v\nwant %s", err, c.want)
			}
			var one *Error
			if !errors.As(err, &one) || one.File != "x.def" {
				t.Errorf("errors.As() found %+v, want an *Error", one)
			}
		})
	}
}

func TestWarningsAreAboutWhatHasNoUse(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{
			"key twice", "Bootstrap: arch\nInclude: a\nInclude: b\n",
			"x.def:3: include is here for the second time: this one counts, not that of line 2",
		},
		{"key of others", "Bootstrap: docker\nFrom: a\nOSVersion: 12\n", "x.def:3: bootstrap docker has no use for osversion"},
		{"words", "%help me\nx\n", `x.def:1: %help: nothing reads "me"`},
		{"arguments twice", "%post -u\nx\n%post -v\nx\n", "x.def:3: %post: its arguments are other than those of line 1: these count"},
		{"label", "%labels\na=b\n", `x.def:2: %labels: "a=b" is a label without a value: a space parts the two, as in "a b"`},
		{
			"stage in a section", "Bootstrap: scratch\n%post\n  bootstrap: docker\n",
			`x.def:3: %post: "bootstrap: docker" is a part of this section: a new stage begins at the left margin`,
		},
		{"argument", "%post\n{{ a }}\n", "x.def: nothing in the file uses the build argument b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := map[string]string{}
			if c.name == "argument" {
				args = map[string]string{"a": "1", "b": "2"}
			}
			d, err := Parse("x.def", []byte(c.text), args)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Warnings) != 1 || d.Warnings[0].Error() != c.want {
				t.Errorf("Warnings = %v\nwant %s", d.Warnings, c.want)
			}
		})
	}
}

func TestErrorsEndSomewhere(t *testing.T) {
	_, err := Parse("x.def", []byte(strings.Repeat("%zzzzzzzz\n", 100)), nil)
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxErrors+1 || lines[maxErrors] != "x.def: and 90 more errors" {
		t.Errorf("Parse() = %v\nwant %d lines", err, maxErrors+1)
	}
}

func TestFailNamesTheSection(t *testing.T) {
	cause := errors.New("exit status 3")
	d := &Definition{File: "x.def"}
	err := d.Fail(Section{Name: "appinstall a", Line: 7}, cause, "the script failed")
	if want := "x.def:7: %appinstall a: the script failed: exit status 3"; err.Error() != want || !errors.Is(err, cause) {
		t.Errorf("Fail() = %v, want %s", err, want)
	}
}
