// Package inspect finds out what an image says of itself: labels, scripts, environment,
// apps and the definition file. It starts no container and mounts nothing, trusts nothing
// it reads, and writes nothing.
package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/sif"
)

const document = "inspect-metadata.json"

// Recorded is what a SIF file says in its inspect-metadata.json; it is false if there
// is none.
func Recorded(f *sif.File) (contract.Attributes, bool, error) {
	text, err := f.Document(document)
	if err != nil || text == nil {
		return contract.Attributes{}, false, err
	}
	var m contract.Metadata
	if err := json.Unmarshal(text, &m); err != nil {
		return contract.Attributes{}, false, fmt.Errorf("%s: %w", document, err)
	}
	a := m.Data.Attributes
	for name, app := range a.Apps {
		if app == nil {
			a.Apps[name] = &contract.Attributes{}
		}
	}
	if a.Deffile == "" {
		a.Deffile, err = f.Definition()
	}
	return a, true, err
}

// Part is something that an image may say of itself.
type Part int

// The parts, in the order in which they are shown.
const (
	Apps Part = iota
	Deffile
	Runscript
	Startscript
	Test
	Helpfile
	Environment
	Labels
)

// Parts are all of them.
func Parts() []Part {
	return []Part{Apps, Deffile, Runscript, Startscript, Test, Helpfile, Environment, Labels}
}

// ErrNoApp says that the image has no such app.
var ErrNoApp = errors.New("no such app")

// Only is what an image says with the parts that are wanted: its own or, if app is not empty,
// those of one app of it. The definition file is the image's; with Apps all of them are there.
func Only(a contract.Attributes, app string, parts ...Part) (contract.Attributes, error) {
	out := some(a, parts)
	if app == "" {
		return out, nil
	}
	found, ok := a.Apps[app]
	if !ok {
		return out, fmt.Errorf("%w: %s", ErrNoApp, app)
	}
	out = contract.Attributes{Deffile: out.Deffile, Apps: out.Apps}
	if out.Apps == nil {
		of := some(*found, parts)
		out.Apps = map[string]*contract.Attributes{app: &of}
	}
	return out, nil
}

func some(a contract.Attributes, parts []Part) contract.Attributes {
	for part, drop := range map[Part]func(){
		Apps: func() { a.Apps = nil }, Deffile: func() { a.Deffile = "" },
		Runscript: func() { a.Runscript = "" }, Startscript: func() { a.Startscript = "" },
		Test: func() { a.Test = "" }, Helpfile: func() { a.Helpfile = "" },
		Environment: func() { a.Environment = nil }, Labels: func() { a.Labels = nil },
	} {
		if !slices.Contains(parts, part) {
			drop()
		}
	}
	return a
}

// Of is what a says of an app, or of the image if that is empty.
func Of(a contract.Attributes, app string) contract.Attributes {
	if app == "" {
		return a
	}
	if found := a.Apps[app]; found != nil {
		return *found
	}
	return contract.Attributes{}
}
