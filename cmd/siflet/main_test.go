package main

import "testing"

// A command is made alone when its name is what was asked for.
func TestCommandsAreFoundByTheirNames(t *testing.T) {
	all := rootCommand(nil)
	for name, command := range new(workshop).commands() {
		if got := command().Name(); got != name {
			t.Errorf("command %q is called %q", name, got)
		}
		if found, _, err := all.Find([]string{name}); err != nil || found.Name() != name {
			t.Errorf("Find(%q) among all = %v, %v", name, found, err)
		}
		alone := rootCommand([]string{name, "--help"})
		if found, _, err := alone.Find([]string{name}); err != nil || found.Name() != name {
			t.Errorf("Find(%q) alone = %v, %v", name, found, err)
		}
	}
	const exec, help = 1, 1
	if made := rootCommand([]string{"exec"}).Commands(); len(made) != exec+help {
		t.Errorf("siflet exec makes %d commands, want its own and help", len(made))
	}
}
