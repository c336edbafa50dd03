package program

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON without reflection: the launch stage, a new process each
// time, would spend more time on preparing a reflecting decoder than on all the
// mounts of a container. After the first error it reads nothing more.
type scanner struct {
	data  []byte
	pos   int
	depth int
	err   error
}

const maxDepth = 100

func (s *scanner) fail(want string) {
	if s.err == nil {
		s.err = fmt.Errorf("byte %d: %s expected", s.pos, want)
	}
	s.pos = len(s.data)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) word(w string) bool {
	s.peek()
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

// members calls one for each member of an object or element of an array. It
// must read the value.
func (s *scanner) members(open, end byte, one func()) {
	if s.word("null") {
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

func (s *scanner) object(field func(key string)) {
	s.members('{', '}', func() {
		key := s.str()
		if !s.accept(':') {
			s.fail(":")
			return
		}
		field(key)
	})
}

// list reads an array with one for each element.
func list[T any](s *scanner, one func(*T)) []T {
	var all []T
	s.members('[', ']', func() {
		var v T
		one(&v)
		all = append(all, v)
	})
	return all
}

func (s *scanner) strs() []string {
	return list(s, func(v *string) { *v = s.str() })
}

func (s *scanner) uints() []uint32 {
	return list(s, func(v *uint32) { *v = uint32(s.unsigned(32)) })
}

func (s *scanner) str() string {
	if s.word("null") {
		return ""
	}
	if !s.accept('"') {
		s.fail("string")
		return ""
	}
	start := s.pos
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return string(s.data[start : s.pos-1])
		case c == '\\':
			return s.escaped(append([]byte(nil), s.data[start:s.pos]...))
		case c < ' ':
			s.fail("end of string")
			return ""
		}
	}
	s.fail("end of string")
	return ""
}

// escaped reads the rest of a string from its first backslash on.
func (s *scanner) escaped(buf []byte) string {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			return string(buf)
		case c < ' ':
			s.fail("end of string")
			return ""
		case c != '\\':
			buf = append(buf, c)
		default:
			buf = s.escape(buf)
		}
	}
	s.fail("end of string")
	return ""
}

func (s *scanner) escape(buf []byte) []byte {
	if s.pos >= len(s.data) {
		return buf
	}
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return append(buf, c)
	case 'b':
		return append(buf, '\b')
	case 'f':
		return append(buf, '\f')
	case 'n':
		return append(buf, '\n')
	case 'r':
		return append(buf, '\r')
	case 't':
		return append(buf, '\t')
	case 'u':
		r := s.hex()
		if utf16.IsSurrogate(r) {
			second := rune(utf8.RuneError)
			if s.pos+1 < len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
				s.pos += 2
				second = s.hex()
			}
			r = utf16.DecodeRune(r, second)
		}
		return utf8.AppendRune(buf, r)
	}
	s.fail("escape")
	return buf
}

func (s *scanner) hex() rune {
	const digits = 4
	if len(s.data)-s.pos < digits {
		s.fail("four hexadecimal digits")
		return utf8.RuneError
	}
	n, err := strconv.ParseUint(string(s.data[s.pos:s.pos+digits]), 16, 16)
	if err != nil {
		s.fail("four hexadecimal digits")
		return utf8.RuneError
	}
	s.pos += digits
	return rune(n)
}

func (s *scanner) number() string {
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

func (s *scanner) signed() int64 {
	if s.word("null") {
		return 0
	}
	n, err := strconv.ParseInt(s.number(), 10, 64)
	if err != nil {
		s.fail("number")
	}
	return n
}

func (s *scanner) unsigned(bits int) uint64 {
	if s.word("null") {
		return 0
	}
	n, err := strconv.ParseUint(s.number(), 10, bits)
	if err != nil {
		s.fail("number")
	}
	return n
}

func (s *scanner) boolean() bool {
	switch {
	case s.word("true"):
		return true
	case s.word("false"), s.word("null"):
	default:
		s.fail("true or false")
	}
	return false
}

func (s *scanner) base64() []byte {
	text := s.str()
	if text == "" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.fail("base64")
	}
	return data
}

// skip reads a value that nobody knows.
func (s *scanner) skip() {
	switch s.peek() {
	case '{':
		s.object(func(string) { s.skip() })
	case '[':
		s.members('[', ']', s.skip)
	case '"':
		s.str()
	case 't', 'f', 'n':
		s.boolean()
	default:
		if s.number() == "" {
			s.fail("value")
		}
	}
}

func (s *scanner) end() error {
	if s.err == nil && s.peek() != 0 {
		return errors.New("data after the end")
	}
	return s.err
}
