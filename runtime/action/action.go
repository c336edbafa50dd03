// Package action carries out Singularity's environment contract inside a
// container: it turns what was asked for (exec, run, shell, test, start) and
// what the image says (/.singularity.d) into one command with its arguments and
// environment. The scripts under /.singularity.d/env are interpreted by an
// embedded shell, so an image needs no /bin/sh.
//
// It refuses to mount, to change users or to start the final command; it runs
// other programs only where a script of the image asks for it. It writes no
// files but those that such a script redirects to.
package action

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// The commands of a Request.
const (
	Exec  = "exec"  // Args
	Run   = "run"   // the runscript with Args
	Shell = "shell" // an interactive shell with Args
	Test  = "test"  // the test script
	Start = "start" // the startscript with Args
	Pod   = "pod"   // the startscript if the image has one that does anything, else the runscript
)

const (
	// maxRequest bounds an encoded Request.
	maxRequest = 8 << 20
	// defaultTimeout bounds the interpretation of the env scripts.
	defaultTimeout = time.Minute
	// defaultPath is the search path that both peers give a container.
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	contractDir = "/.singularity.d"
	envDir      = contractDir + "/env"
	libsDir     = contractDir + "/libs"
	appsDir     = "/scif/apps"
)

// Request says what to run in a container, and with what environment. Its
// zero value plus a Command is a valid request.
type Request struct {
	Command string   `json:"command"`
	Args    []string `json:"args,omitempty"`
	// App is the name of a SCIF app of the image, or empty.
	App string `json:"app,omitempty"`
	// Host is the environment passed through from the caller, as K=V. What the
	// image sets wins over it. PATH and LD_LIBRARY_PATH are ignored here.
	Host []string `json:"host,omitempty"`
	// Set wins over the image and over Host; a later entry wins over an earlier.
	Set []Var `json:"set,omitempty"`
	// PrependPath and AppendPath extend the image's PATH, Path replaces it.
	PrependPath string `json:"prepend_path,omitempty"`
	AppendPath  string `json:"append_path,omitempty"`
	Path        string `json:"path,omitempty"`
	// Defaults are always set, whatever the image or anybody says, as K=V
	// (SINGULARITY_CONTAINER and its kin). The env scripts see them.
	Defaults []string `json:"defaults,omitempty"`
	// CleanEnv says that Host has been reduced: LANG is then C unless set.
	CleanEnv bool `json:"clean_env,omitempty"`
	// NoEval takes every value of Set and the path fields literally.
	NoEval bool `json:"no_eval,omitempty"`
	// Shell is the program that the shell command prefers.
	Shell string `json:"shell,omitempty"`
	// HomeDir is the initial HOME; empty leaves that of Host.
	HomeDir string `json:"home_dir,omitempty"`
	// Timeout bounds the interpretation of the env scripts (zero: 60 s).
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Var is one variable of Request.Set. Unless NoEval, the value is expanded in
// the container as if it stood between double quotes in a shell script.
type Var struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	NoEval bool   `json:"no_eval,omitempty"`
}

// Process is what to execute.
type Process struct {
	// Path is the file to execute, as the container sees it.
	Path string
	// Args starts with the program's name; Env is sorted K=V.
	Args, Env []string
	// Dir is where a script changed to; empty means the current directory.
	Dir string
	// Umask is what a script asked for, or nil.
	Umask *int
	// Files replace standard input, output and error where not nil.
	Files [3]*os.File
	// Script is set when the image has no interpreter for its script: call
	// Interpret instead of executing.
	Script *Script
}

// Error ends an action before anything was executed.
type Error struct {
	// Label is the severity that starts the message for a person: FATAL, ERROR,
	// INFO, or empty for a bare message.
	Label string
	// Message says what is wrong and, where known, what to do.
	Message string
	// Code is the exit status; zero means there was nothing to do.
	Code int
	// Err is the cause, if there is one.
	Err error
}

// Error returns the message without its label.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Line is the message as shown to a person, in Singularity's layout.
func (e *Error) Line() string {
	if e.Label == "" {
		return e.Message
	}
	return fmt.Sprintf("%-8s %s", e.Label+":", e.Message)
}

func fatalf(format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Label: "FATAL", Message: err.Error(), Code: 255, Err: errors.Unwrap(err)}
}

// ReadRequest decodes the one JSON request that r holds. It refuses a request
// of more than 8 MiB.
func ReadRequest(r io.Reader) (Request, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if len(data) > maxRequest {
		return Request{}, fmt.Errorf("read request: more than %d bytes", maxRequest)
	}
	var req Request
	if err := json.Unmarshal(data, &req); err != nil {
		return Request{}, fmt.Errorf("decode request: %w", err)
	}
	return req, nil
}
