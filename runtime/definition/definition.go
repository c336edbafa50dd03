// Package definition reads definition files: what images of Singularity and
// Apptainer are built from. It knows the whole grammar of both, and refuses what
// they take by accident: words that nobody reads, sections of no name, stages
// that are not there.
//
// It is pure: it opens no file and asks nobody. What it reads may be hostile.
package definition

import "strings"

// Definition is a definition file, read.
type Definition struct {
	// File is the name for errors.
	File string
	// Stages are built in order; the last one is the image. There is at least one.
	Stages []Stage
	// Text is the source with every {{ name }} replaced, as it is kept in the image.
	Text string
	// Warnings are about what is allowed and of no use, in the order of lines.
	Warnings []*Error
}

// Stage is one root file system to build.
type Stage struct {
	// Name is what later stages copy from; empty if it has none.
	Name string
	// Line is where it begins.
	Line int
	// Header is empty in the one stage of a file that has sections only.
	Header Header
	// Files are the %files sections in order.
	Files  []Files
	Labels []Label
	// Apps are in the order in which the file first names them.
	Apps []App
	Scripts
}

// Scripts are the sections that are text.
type Scripts struct {
	Help, Environment            Section
	Pre, Setup, Post             Section
	Runscript, Startscript, Test Section
}

// App is a SCIF app. Its name is a word of letters, digits and a few signs, and so
// is safe as a file's name and in a shell.
type App struct {
	Name                                         string
	Line                                         int
	Install, Environment, Run, Start, Test, Help Section
	Labels                                       []Label
	// Files go to the app's directory.
	Files []FilePair
}

// Section is a section of text. The zero value is one that is not there.
type Section struct {
	// Name is as in the file, without the percent sign: post, apprun NAME.
	Name string
	// Args are the words after the name, without a comment.
	Args []string
	// Body is the lines below, each with its end. Sections of one name are one.
	Body string
	// Line is where the section begins, zero if it is not there.
	Line int
}

// Empty says that the section is not there, or says nothing.
func (s Section) Empty() bool { return strings.TrimSpace(s.Body) == "" }

// Files is a %files section.
type Files struct {
	// From is the stage to copy from; empty means the host.
	From  string
	Line  int
	Pairs []FilePair
}

// FilePair is one line of a %files section.
type FilePair struct {
	// Source may be a pattern. Target is as in the file: empty means the path of the
	// source, a slash at the end means a directory.
	Source, Target string
	Line           int
}

// Label is a line of a %labels section.
type Label struct {
	Name, Value string
	Line        int
}

// Header is the head of a stage: its keys in the order of the file, each once.
type Header []Key

// Key is a line of a header. Name is in lower case.
type Key struct {
	Name, Value string
	Line        int
}

// Value is that of a key (in lower case), empty if it is not there.
func (h Header) Value(name string) string {
	for _, k := range h {
		if k.Name == name {
			return k.Value
		}
	}
	return ""
}

// Line is where a key is, or the header begins if it is not there.
func (h Header) Line(name string) int {
	for _, k := range h {
		if k.Name == name {
			return k.Line
		}
	}
	if len(h) > 0 {
		return h[0].Line
	}
	return 0
}

// Bootstrap is the agent that brings the base, in lower case.
func (h Header) Bootstrap() string { return strings.ToLower(h.Value("bootstrap")) }

// From is the base that the agent brings.
func (h Header) From() string { return h.Value("from") }

// IncludeCmd says that the base image's own command is part of the start.
func (h Header) IncludeCmd() bool {
	switch strings.ToLower(h.Value("includecmd")) {
	case "yes", "true", "y", "1", "on":
		return true
	}
	return false
}
