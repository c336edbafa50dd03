package definition

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScriptStartsWithItsInterpreter(t *testing.T) {
	for _, c := range []struct {
		name    string
		section Section
		want    string
	}{
		{"a shell's", Section{Body: "    nginx\n"}, "#!/bin/sh\n\n    nginx\n\n"},
		{"another's", Section{Body: "\n    #!/usr/bin/python3\nprint()\n"}, "#!/usr/bin/python3\n\nprint()\n\n"},
		{"with arguments", Section{Args: []string{"-e", "-u"}, Body: "#!/bin/bash\nx\n"}, "#!/bin/bash -e -u\n\nx\n\n"},
		{"an interpreter alone", Section{Body: "#!/bin/bash"}, "#!/bin/bash\n\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.section.Script(); got != c.want {
				t.Errorf("Script() = %q, want %q", got, c.want)
			}
		})
	}
}

func TestCommandRunsAsThePeersDo(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"plain", nil, []string{"/bin/sh", "-ex", "/.post.script"}},
		{"options", []string{"-u"}, []string{"/bin/sh", "-ex", "-u", "/.post.script"}},
		{"another interpreter", []string{"-c", "/bin/bash", "-x"}, []string{"/bin/sh", "-ex", "-c", "/bin/bash -x /.post.script"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Section{Args: c.args}
			for range 2 { // Args must not change
				if diff := cmp.Diff(c.want, s.Command("/.post.script")); diff != "" {
					t.Errorf("Command() (-want +got):\n%s", diff)
				}
			}
		})
	}
}
