package source

import "fmt"

// kindError is of a kind that package registry names, and speaks of another place than one.
type kindError struct{ kind, text error }

func (e *kindError) Error() string   { return e.text.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.text} }

func kindOf(kind error, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}
