package config

import (
	"regexp"
	"strings"
	"testing"
)

func FuzzFilesAreReadOrRefusedWithTheirLines(f *testing.F) {
	for _, seed := range []string{
		DefaultFile(), "subnet = [\n\"a]\", # ]\n'''\n'''\n]\nbridge = 7\n", "[handlers.\"a.b\"]\nx = {y = [1]}\n[[handlers]]\n",
		"handlers.a.seccomp = 1\r\n\"log_level\" = \"\"\"\\\nloud\"\"\"\n", "nri.x = 1979-05-27\n[ handlers . 'a' ]\nwritable = inf\n",
	} {
		f.Add(seed)
	}
	line := regexp.MustCompile(`^file:[1-9][0-9]*$`)
	f.Fuzz(func(t *testing.T, text string) {
		c, at, problems := parse("file", text)
		lines := strings.Count(text, "\n") + 1
		for _, p := range append(problems, c.complete(at)...) {
			if p.Text == "" || p.Where != "file" && !line.MatchString(p.Where) {
				t.Errorf("problem %q at %q", p.Text, p.Where)
			}
			if n := at.order(p.Where); n > lines {
				t.Errorf("problem in line %d of %d", n, lines)
			}
		}
		if len(problems) > 0 {
			return
		}
		again, _, problems := parse("file", Write(c))
		if len(problems) > 0 || Write(again) != Write(c) {
			t.Errorf("%q is written as\n%s\nwhich is wrong: %v", text, Write(c), problems)
		}
	})
}
