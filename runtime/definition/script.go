package definition

import (
	"slices"
	"strings"
)

const defaultShell = "#!/bin/sh"

// Script is the section as a file to execute: its own first line if that names an
// interpreter, else /bin/sh, with the arguments of the section; then the rest.
func (s Section) Script() string {
	interpreter, body := defaultShell, s.Body
	if text := strings.TrimLeft(body, " \t\n"); strings.HasPrefix(text, "#!") {
		first, rest, _ := strings.Cut(text, "\n")
		interpreter, body = strings.TrimSpace(first), rest
	}
	return strings.Join(append([]string{interpreter}, s.Args...), " ") + "\n\n" + body + "\n"
}

// Command runs the section's body, which is in a file at path, as %post, %setup and
// %pre are run: by a shell that stops at the first error and shows what it does,
// with the section's arguments. What follows -c is another interpreter.
func (s Section) Command(path string) []string {
	command := []string{"/bin/sh", "-ex"}
	if at := slices.Index(s.Args, "-c"); at >= 0 {
		return append(append(command, s.Args[:at+1]...), strings.Join(append(s.Args[at+1:len(s.Args):len(s.Args)], path), " "))
	}
	return append(append(command, s.Args...), path)
}
