package action

import (
	"context"
	"os/exec"
	"strings"
)

// libraryPath puts the system's own library directories before /.singularity.d/libs
// when libraries of the host are bound there and nothing else is in
// LD_LIBRARY_PATH, so that they don't hide the image's.
func (e *environment) libraryPath(ctx context.Context) error {
	current, _ := e.shell.value("LD_LIBRARY_PATH")
	before, _ := e.shell.value("PREPEND_LD_LIBRARY_PATH")
	after, _ := e.shell.value("APPEND_LD_LIBRARY_PATH")
	whole := current
	if current == libsDir && (before != "" || after != "" || e.hasLibs()) {
		if dirs := e.systemLibs(ctx); dirs != "" {
			whole = dirs + ":" + whole
		}
	}
	if whole != "" && before != "" {
		whole = before + ":" + whole
	}
	if whole != "" && after != "" {
		whole += ":" + after
	}
	if whole == current {
		return nil
	}
	return e.shell.set(ctx, "LD_LIBRARY_PATH", whole)
}

func (e *environment) hasLibs() bool {
	entries, err := e.tree.readDir(libsDir)
	return err == nil && len(entries) > 0
}

// systemLibs asks the image's ldconfig (glibc's lists the directories).
func (e *environment) systemLibs(ctx context.Context) string {
	if !e.tree.live() || !e.tree.executable("/sbin/ldconfig") {
		return ""
	}
	out, err := exec.CommandContext(ctx, "/sbin/ldconfig", "-Nv").Output()
	if err != nil && len(out) == 0 {
		return ""
	}
	var dirs []string
	for line := range strings.Lines(string(out)) {
		if dir, _, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(dir, "/") {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}
