package program

import (
	"errors"
	"fmt"
	"strconv"
)

// Reader reads JSON without reflection: the launch stage, a new process each
// time, would spend more time on preparing a reflecting decoder than on all the
// mounts of a container, and the supervisor's memory counts for every pod. A null
// is read as a zero value. After the first error nothing more is read.
type Reader struct {
	data  []byte
	pos   int
	depth int
	err   error
}

const maxDepth = 100

// NewReader returns a reader of a document, which it keeps but does not change.
func NewReader(data []byte) *Reader { return &Reader{data: data} }

func (s *Reader) fail(want string) {
	if s.err == nil {
		s.err = fmt.Errorf("byte %d: %s expected", s.pos, want)
	}
	s.pos = len(s.data)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *Reader) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (s *Reader) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *Reader) word(w string) bool {
	s.peek()
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

// Null reads a null if one comes next.
func (s *Reader) Null() bool { return s.word("null") }

// Raw reads any value and returns its bytes, which are the document's own.
func (s *Reader) Raw() []byte {
	s.peek()
	start := s.pos
	if s.Skip(); s.err != nil {
		return nil
	}
	return s.data[start:s.pos]
}

// members calls one for each member of an object or element of an array. It
// must read the value.
func (s *Reader) members(open, end byte, one func()) {
	if s.Null() {
		return
	}
	if s.depth++; s.depth > maxDepth || !s.accept(open) {
		s.fail(string(open))
		return
	}
	defer func() { s.depth-- }()
	if s.accept(end) {
		return
	}
	for s.err == nil {
		one()
		if s.accept(',') {
			continue
		}
		if !s.accept(end) {
			s.fail(string(end))
		}
		return
	}
}

// Object calls field for each member, which must read the value.
func (s *Reader) Object(field func(key string)) {
	s.members('{', '}', func() {
		key := s.Text()
		if !s.accept(':') {
			s.fail(":")
			return
		}
		field(key)
	})
}

// list reads an array with one for each element.
func list[T any](s *Reader, one func(*T)) []T {
	var all []T
	s.members('[', ']', func() {
		var v T
		one(&v)
		all = append(all, v)
	})
	return all
}

// Texts reads an array of strings.
func (s *Reader) Texts() []string {
	return list(s, func(v *string) { *v = s.Text() })
}

func (s *Reader) uints() []uint32 {
	return list(s, func(v *uint32) { *v = uint32(s.Uint(32)) })
}

func (s *Reader) number() string {
	s.peek()
	start := s.pos
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		s.pos++
	}
	return string(s.data[start:s.pos])
}

// Int reads a whole number.
func (s *Reader) Int() int64 {
	if s.Null() {
		return 0
	}
	n, err := strconv.ParseInt(s.number(), 10, 64)
	if err != nil {
		s.fail("number")
	}
	return n
}

// Uint reads a number that fits in so many bits.
func (s *Reader) Uint(bits int) uint64 {
	if s.Null() {
		return 0
	}
	n, err := strconv.ParseUint(s.number(), 10, bits)
	if err != nil {
		s.fail("number")
	}
	return n
}

// Bool reads true or false.
func (s *Reader) Bool() bool {
	switch {
	case s.word("true"):
		return true
	case s.word("false"), s.Null():
	default:
		s.fail("true or false")
	}
	return false
}

// Skip reads a value that nobody knows.
func (s *Reader) Skip() {
	switch s.peek() {
	case '{':
		s.Object(func(string) { s.Skip() })
	case '[':
		s.members('[', ']', s.Skip)
	case '"':
		s.Text()
	case 't', 'f', 'n':
		s.Bool()
	default:
		if s.number() == "" {
			s.fail("value")
		}
	}
}

// End is the first error; anything behind the document is one.
func (s *Reader) End() error {
	if s.err == nil && s.peek() != 0 {
		return errors.New("data after the end")
	}
	return s.err
}
