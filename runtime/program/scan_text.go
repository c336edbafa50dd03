package program

import (
	"encoding/base64"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Text reads a string.
func (s *Reader) Text() string {
	if s.Null() {
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
func (s *Reader) escaped(buf []byte) string {
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

func (s *Reader) escape(buf []byte) []byte {
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

func (s *Reader) hex() rune {
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

func (s *Reader) base64() []byte {
	text := s.Text()
	if text == "" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		s.fail("base64")
	}
	return data
}
