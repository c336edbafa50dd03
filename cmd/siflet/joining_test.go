package main

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

func TestWhatHasNoMeaningInAnInstanceIsNamed(t *testing.T) {
	for _, c := range []struct{ given, want []string }{
		{[]string{"--env", "A=1", "--cwd", "/", "--home", "/x", "-e", "--app", "a", "--fakeroot", "--no-nv"}, nil},
		{[]string{"--nv=false", "--contain=false"}, nil},
		{[]string{"--nv"}, []string{"--nv"}},
		{[]string{"--home", "/x:/y"}, []string{"--home"}},
		{[]string{"-B", "/a", "--network", "bridge", "--memory", "1G", "-C"}, []string{"--bind", "--containall", "--memory", "--network"}},
	} {
		var o actionOptions
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.register(flags)
		o.registerPID(flags)
		if err := flags.Parse(c.given); err != nil {
			t.Fatal(err)
		}
		got := idle(flags)
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("idle(%q) = %q, want %q", c.given, got, c.want)
		}
		if err := refuseIdle(flags); (err != nil) != (len(c.want) > 0) {
			t.Errorf("refuseIdle(%q) = %v", c.given, err)
		}
	}
}
