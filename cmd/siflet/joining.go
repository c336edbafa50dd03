package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// What is made when an instance starts is not made again for who joins it.

// joining are the flags that count for a process that joins an instance or a pod, that
// ask for what is so anyway, or that are refused for everybody.
func joining() []string {
	names := []string{
		"app", "cwd", "pwd", "home", "shell", "env", "env-file", "no-env", "cleanenv", "no-eval", "runscript-timeout",
		"keep-privs", "allow-setuid", "help", "no-instance-env", "fakeroot", "userns", "unsquash", "tmpdir",
	}
	for _, table := range []map[string][]string{unsupported(), needless()} {
		for _, entry := range slices.Concat(table["bool"], table["value"]) {
			name, _, _ := strings.Cut(entry, " ")
			names = append(names, name)
		}
	}
	return names
}

// idle are the flags, of those that were given, that have no meaning in an instance.
func idle(flags *pflag.FlagSet) (names []string) {
	meant := joining()
	flags.Visit(func(flag *pflag.Flag) {
		mounts := flag.Name == "home" && strings.Contains(flag.Value.String(), ":")
		if (mounts || !slices.Contains(meant, flag.Name)) && flag.Value.String() != "false" {
			names = append(names, "--"+flag.Name)
		}
	})
	return names
}

// refuseIdle refuses flags that would change nothing.
func refuseIdle(flags *pflag.FlagSet) error {
	names := idle(flags)
	if len(names) == 0 {
		return nil
	}
	return usageError{text: strings.Join(names, ", ") + ": not for an instance that runs; give it to siflet instance start"}
}

// warnIdle says which of them came from the environment, where they may be meant for
// other commands.
func warnIdle(w io.Writer, flags *pflag.FlagSet) {
	if names := idle(flags); len(names) > 0 {
		warn(w, "%s of the environment: ignored for an instance that runs; it counts for siflet instance start", strings.Join(names, ", "))
	}
}
