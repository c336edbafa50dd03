package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/definition"
)

// Build is what an image is built from.
type Build struct {
	Definition *definition.Definition
	// Stage has the sections that are to count.
	Stage definition.Stage
	// Config is that of the base if it is a Docker or OCI image, or nil.
	Config *Config
	// Architecture is the image's, in Go's words. Time and Version are the build's. There are
	// no labels of what is empty.
	Architecture, Version string
	Time                  time.Time
	// Update says that the image was there before, and its base is not that of the header.
	Update bool
}

// Finished is what the sections add to an image, and what of them has no effect.
type Finished struct {
	Files    []File
	Warnings []*definition.Error
}

// Finish is what an image gets when %post has run in it: scripts, labels, the
// definition. root is the image's root file system, of which it keeps what the base
// says: its environment, its labels, its definition as history.
func (b Build) Finish(root fs.FS) (Finished, error) {
	var f Finished
	for _, step := range []func(fs.FS, *Finished) error{b.scripts, b.environment, b.labels, b.history, b.appLinks} {
		if err := step(root, &f); err != nil {
			return Finished{}, err
		}
	}
	return f, nil
}

func (f *Finished) add(list ...File) { f.Files = append(f.Files, list...) }

// scripts are the sections that become files of their own.
func (b Build) scripts(_ fs.FS, f *Finished) error {
	s := b.Stage
	if !s.Help.Empty() {
		f.add(Regular(helpPath, 0o644, s.Help.Body+"\n"))
	}
	if !s.Runscript.Empty() {
		f.add(Regular(runscriptPath, 0o755, s.Runscript.Script()))
	}
	if !s.Test.Empty() {
		f.add(Regular(testPath, 0o755, s.Test.Script()))
	}
	start, err := b.start(f)
	if err == nil && start != "" {
		f.add(Regular(startscriptPath, 0o755, start))
	}
	return err
}

// start is the startscript: the section's and then, if Includecmd says so, the base's
// command.
func (b Build) start(f *Finished) (string, error) {
	own := b.Stage.Startscript
	at := b.Stage.Header.Line("includecmd")
	switch {
	case !b.Stage.Header.IncludeCmd() || b.Update:
	case b.Config == nil || len(b.Config.Entrypoint)+len(b.Config.Cmd) == 0:
		f.Warnings = append(f.Warnings, &definition.Error{
			File: b.Definition.File, Line: at, Message: "includecmd: the base has no command (ENTRYPOINT, CMD) to include",
		})
	case own.Empty():
		return runscript(b.Config.Process), nil
	case !readByShell(own.Script()):
		return "", b.Definition.Fail(own, nil, "the base's command can't go after a script that is not one of a shell: "+
			"use %%startscript without an interpreter of its own, or \"Includecmd: no\"")
	default:
		return own.Script() + "\n" + command(b.Config.Process), nil
	}
	switch {
	case !own.Empty():
		return own.Script(), nil
	case b.Stage.Header.Value("includecmd") != "" && !b.Stage.Header.IncludeCmd() && !b.Update:
		return nothing, nil
	}
	return "", nil
}

// nothing is the startscript of an image whose base's command is not to be started. Without
// such a line it would be, as the service of a Docker image that has no other.
const nothing = shebang + "# Includecmd: no\n"

// readByShell says that a script's interpreter is a shell.
func readByShell(script string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(script, "#!"), "\n")
	return isShell(strings.Fields(first))
}

// isShell says that a command is a shell, by its path or through env or busybox.
func isShell(words []string) bool {
	for _, word := range words {
		switch path.Base(word) {
		case "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh":
			return true
		case "env", "busybox":
		default:
			return false
		}
	}
	return false
}

// environment goes after that of the base.
func (b Build) environment(root fs.FS, f *Finished) error {
	if b.Stage.Environment.Empty() {
		return nil
	}
	before, err := optional(root, environmentPath)
	if err != nil {
		return err
	}
	if before == "" {
		before = envOwn
	}
	f.add(Regular(environmentPath, 0o755, before+"\n"+b.Stage.Environment.Body+"\n"))
	return nil
}

// labels are the base's, those of the build, those of the definition and those that
// %post wrote: the last one of a name counts.
func (b Build) labels(root fs.FS, f *Finished) error {
	labels := map[string]string{}
	if b.Config != nil {
		maps.Copy(labels, b.Config.Labels)
	}
	text, err := optional(root, LabelsPath)
	if err != nil {
		return err
	}
	if text != "" {
		if labels, err = ReadLabels(text); err != nil {
			return fmt.Errorf("the base's %w", err)
		}
	}
	header := map[string]string{}
	if !b.Update {
		// Those of the base's own build are not true any more.
		maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, labelDeffile) })
		for _, k := range b.Stage.Header {
			header[k.Name] = k.Value
		}
	}
	delete(labels, labelDate)
	maps.Copy(labels, BuildLabels(b.Architecture, b.Time, header))
	if b.Version != "" {
		labels[labelVersion] = b.Version
	}
	if !b.Stage.Help.Empty() {
		labels[labelUsage], labels[labelHelp] = "/"+helpPath, "/"+helpPath
	}
	for _, l := range b.Stage.Labels {
		labels[l.Name] = l.Value
	}
	written, err := optional(root, BuildLabelsPath)
	if err != nil {
		return err
	}
	for _, l := range definition.ParseLabels(written) {
		labels[l.Name] = l.Value
	}
	f.add(LabelsFile(labels))
	return nil
}

// history keeps the definition of the base beside that of the image.
func (b Build) history(root fs.FS, f *Finished) error {
	before, err := read(root, DefinitionPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		entries, err := fs.ReadDir(root, historyDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		name := historyDir + "/Singularity" + strconv.Itoa(len(entries))
		f.add(Directory(historyDir), Regular(name, 0o644, before))
	}
	f.add(Regular(DefinitionPath, 0o644, b.Definition.Text))
	return nil
}

// optional is a file of the image, empty if there is none.
func optional(root fs.FS, name string) (string, error) {
	text, err := read(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text, err
}
