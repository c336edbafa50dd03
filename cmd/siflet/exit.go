package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

// Exit statuses of the command line, as Singularity's.
const (
	exitUsage = 1
	exitFatal = 255
)

// usageError is a mistake in how a command was called.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// statusError ends siflet with the status of what it ran and no message.
type statusError struct {
	code   int
	signal int // the process died of it; siflet dies likewise
}

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// messageError is a message with an exit status of its own and no FATAL.
type messageError struct {
	text string
	code int
}

func (e messageError) Error() string { return e.text }

// missingError says that no instance has a name.
type missingError struct{ text string }

func (e missingError) Error() string { return e.text }

// Unwrap gives the error its kind.
func (missingError) Unwrap() error { return runtime.ErrNotFound }

// ended turns how a process ended into how siflet does.
func ended(exit supervisor.Exit) error {
	if exit.Code == 0 {
		return nil
	}
	return statusError{code: exit.Code, signal: exit.Signal}
}

// report writes what a person should read about err and returns the exit
// status. command is the one that was called: "instance stop".
func report(w io.Writer, command string, err error) int {
	var (
		status  statusError
		usage   usageError
		message messageError
		failure *program.Failure
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.code
	case errors.As(err, &message):
		say(w, "%s", message.text)
		return message.code
	case errors.As(err, &usage):
		name := command[strings.LastIndexByte(command, ' ')+1:]
		say(w, "Error for command %q: %s\n\nUsage: see %s --help", name, usage.text, command)
		return exitUsage
	case errors.As(err, &failure) && failure.Code == exitUsage:
		say(w, "%s", failure.Reason)
		return exitUsage
	case errors.As(err, &failure) && failure.Code != 0:
		// What the command itself was about needs no path to it.
		say(w, "FATAL:   %s", failure.Reason)
		return exitFatal
	default:
		say(w, "FATAL:   %v%s", err, ownDirHint(err))
		return exitFatal
	}
}

func info(w io.Writer, format string, args ...any) {
	say(w, "INFO:    "+format, args...)
}

func warn(w io.Writer, format string, args ...any) {
	say(w, "WARNING: "+format, args...)
}

// say writes a line to a person, who may have gone. What strangers wrote may be in it.
func say(w io.Writer, format string, args ...any) {
	_, _ = io.WriteString(w, readable(fmt.Sprintf(format, args...))+"\n")
}
