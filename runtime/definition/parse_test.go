package definition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string, args map[string]string) *Definition {
	t.Helper()
	d, err := Parse("x.def", []byte(text), args)
	if err != nil {
		t.Fatalf("Parse() = %v", err)
	}
	for _, w := range d.Warnings {
		t.Logf("warning: %v", w)
	}
	return d
}

const whole = `# what everybody writes first
BootStrap: docker   # where from
From: node:8
Includecmd: no

%help
    Some help.
%pre
    true
%setup
    touch "$SINGULARITY_ROOTFS/x"
%files
    # the source
    a.txt
    "with space.txt" /opt/with\space/   # a comment
    'b c' "d e"

%labels
    Maintainer  A. Person
    Empty
%environment
    PORT=9000
    export PORT
%post -c /bin/bash -x # comment
    apt-get update
%post -c /bin/bash -x
    # more
%appinstall pdf_server
    git clone x
%runscript
    #!/usr/bin/python3
    print(1)
%apprun pdf_client
    curl "$1"
%applabels pdf_client
    Version 1
%appfiles pdf_client
    conf etc/conf
%startscript
    nohup npm start &
%test
    true
`

func TestParseReadsEverything(t *testing.T) {
	want := Stage{
		Line:   2,
		Header: Header{{"bootstrap", "docker", 2}, {"from", "node:8", 3}, {"includecmd", "no", 4}},
		Files: []Files{{Line: 12, Pairs: []FilePair{
			{Source: "a.txt", Line: 14}, {Source: "with space.txt", Target: `/opt/with\space/`, Line: 15}, {Source: "b c", Target: "d e", Line: 16},
		}}},
		Labels: []Label{{"Maintainer", "A. Person", 19}, {"Empty", "", 20}},
		Scripts: Scripts{
			Help:        Section{Name: "help", Body: "    Some help.\n", Line: 6},
			Pre:         Section{Name: "pre", Body: "    true\n", Line: 8},
			Setup:       Section{Name: "setup", Body: "    touch \"$SINGULARITY_ROOTFS/x\"\n", Line: 10},
			Environment: Section{Name: "environment", Body: "    PORT=9000\n    export PORT\n", Line: 21},
			Post: Section{
				Name: "post", Args: []string{"-c", "/bin/bash", "-x"}, Line: 24,
				Body: "    apt-get update\n    # more\n",
			},
			Runscript:   Section{Name: "runscript", Body: "    #!/usr/bin/python3\n    print(1)\n", Line: 30},
			Startscript: Section{Name: "startscript", Body: "    nohup npm start &\n", Line: 39},
			Test:        Section{Name: "test", Body: "    true\n", Line: 41},
		},
		Apps: []App{
			{Name: "pdf_server", Line: 28, Install: Section{Name: "appinstall pdf_server", Body: "    git clone x\n", Line: 28}},
			{
				Name: "pdf_client", Line: 33, Run: Section{Name: "apprun pdf_client", Body: "    curl \"$1\"\n", Line: 33},
				Labels: []Label{{"Version", "1", 36}}, Files: []FilePair{{Source: "conf", Target: "etc/conf", Line: 38}},
			},
		},
	}
	for name, text := range map[string]string{
		"plain":                   whole,
		"lines of Windows":        strings.ReplaceAll(whole, "\n", "\r\n"),
		"a byte order mark":       "\xef\xbb\xbf" + whole,
		"no end of the last line": strings.TrimSuffix(whole, "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			d := parse(t, text, nil)
			if diff := cmp.Diff([]Stage{want}, d.Stages); diff != "" {
				t.Errorf("Stages (-want +got):\n%s", diff)
			}
			if d.Text != whole {
				t.Errorf("Text = %q, want %q", d.Text, whole)
			}
			if len(d.Warnings) > 0 {
				t.Errorf("Warnings = %v, want none", d.Warnings)
			}
		})
	}
}

func TestHeaderIsReadAsByThePeers(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Header
	}{
		{
			"continued", "bootstrap: yum\nInclude: a \\\n   b\nMirrorURL: http://x/\n",
			Header{{"bootstrap", "yum", 1}, {"include", "a b", 2}, {"mirrorurl", "http://x/", 4}},
		},
		{
			"lines in a value", "bootstrap: zypper\nProductPGP: -----BEGIN\\n\\\nVersion\\n\\\n\\n\\\nmQ\\n\\\n-----END\nmodules: m\n",
			Header{{"bootstrap", "zypper", 1}, {"productpgp", "-----BEGIN\nVersion\n\nmQ\n-----END", 2}, {"modules", "m", 7}},
		},
		{"continued over a comment", "bootstrap: yum\ninclude: a \\ # one\n# two\nb\n", Header{{"bootstrap", "yum", 1}, {"include", "a b", 2}}},
		{
			"ended by an empty line", "bootstrap: yum\ninclude: a\\\n\nosversion: 7\n",
			Header{{"bootstrap", "yum", 1}, {"include", "a", 2}, {"osversion", "7", 4}},
		},
		{"keys before bootstrap", "From: a\nBootstrap: docker\n", Header{{"from", "a", 1}, {"bootstrap", "docker", 2}}},
		{
			"colons in a value", "bootstrap: docker\nfrom: localhost:5000/a:b\n",
			Header{{"bootstrap", "docker", 1}, {"from", "localhost:5000/a:b", 2}},
		},
		{"numbered", "bootstrap: zypper\notherurl12: http://x\n", Header{{"bootstrap", "zypper", 1}, {"otherurl12", "http://x", 2}}},
		{"none", "%post\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parse(t, c.text, nil).Stages[0].Header); diff != "" {
				t.Errorf("Header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStagesAreApart(t *testing.T) {
	d := parse(t, `Bootstrap: docker
From: golang
Stage: build
%post
    cat > x.yaml <<E
    bootstrap: not a stage
E

Bootstrap: scratch
%files from build # the binary
    /out /bin/out
%files
    x
`, nil)
	if len(d.Stages) != 2 || d.Stages[0].Name != "build" || d.Stages[1].Line != 9 {
		t.Fatalf("Stages = %+v, want build and another at line 9", d.Stages)
	}
	want := []Files{
		{From: "build", Line: 10, Pairs: []FilePair{{Source: "/out", Target: "/bin/out", Line: 11}}},
		{Line: 12, Pairs: []FilePair{{Source: "x", Line: 13}}},
	}
	if diff := cmp.Diff(want, d.Stages[1].Files); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}
}

func TestIncludeCmdIsABool(t *testing.T) {
	for value, want := range map[string]bool{"yes": true, "Yes": true, "true": true, "no": false, "False": false, "": false} {
		d := parse(t, "Bootstrap: docker\nFrom: a\nIncludeCmd: "+value+"\n", nil)
		if got := d.Stages[0].Header.IncludeCmd(); got != want {
			t.Errorf("IncludeCmd() of %q = %v, want %v", value, got, want)
		}
	}
}

func TestFromIsWhatParseReads(t *testing.T) {
	d := From("docker", "localhost:5000/a\nb")
	again, err := Parse(d.File, []byte(d.Text), nil)
	if err != nil {
		t.Fatal(err)
	}
	// But for the lines: nobody wrote any.
	again.Stages[0].Line = 0
	for i := range again.Stages[0].Header {
		again.Stages[0].Header[i].Line = 0
	}
	if diff := cmp.Diff(d.Stages, again.Stages); diff != "" {
		t.Errorf("Stages (-From +Parse):\n%s", diff)
	}
}
