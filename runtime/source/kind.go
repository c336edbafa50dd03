package source

import (
	"fmt"

	"github.com/siflet/siflet/runtime/registry"
)

// kindError is of a kind that package registry names, and speaks of another place than one.
type kindError struct{ kind, text error }

func (e *kindError) Error() string   { return e.text.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.text} }

func kindOf(kind error, format string, args ...any) error {
	return &kindError{kind, fmt.Errorf(format, args...)}
}

// quotedError is an error in which a server's words may be.
type quotedError struct{ error }

func (e quotedError) Error() string { return registry.Clean(e.error.Error()) }
func (e quotedError) Unwrap() error { return e.error }
