package definition

import (
	"fmt"
	"strconv"
)

// Error is about one place in a definition file.
type Error struct {
	File string
	// Line counts from one; zero means the file.
	Line int
	// Section is as in the file, with the percent sign, or empty.
	Section string
	// Message says what is wrong and, where known, what to do. It may be empty if the
	// cause says it all.
	Message string
	// Err is the cause, if there is one.
	Err error
}

// Error reads FILE:LINE: %SECTION: MESSAGE.
func (e *Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += ":" + strconv.Itoa(e.Line)
	}
	if e.Section != "" {
		text += ": " + e.Section
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail is an error about a section, for whoever carries it out: its message ends
// with the cause.
func (d *Definition) Fail(s Section, err error, format string, args ...any) *Error {
	return &Error{File: d.File, Line: s.Line, Section: "%" + s.Name, Message: fmt.Sprintf(format, args...), Err: err}
}
