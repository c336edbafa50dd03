package bootstrap

import (
	"regexp"
	"sync"
)

// lazily compiles an expression when it is needed first: every command loads this
// package, and few read a definition file.
func lazily(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
