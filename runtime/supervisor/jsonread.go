package supervisor

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// reader walks a JSON document without reflection and without keeping
// anything. After an error every method is a no-op and err says what happened.
type reader struct {
	b   []byte
	pos int
	err error
}

const maxDepth = 64

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = errors.New("json: " + what + " at byte " + strconv.Itoa(r.pos))
	}
}

func (r *reader) space() {
	for r.pos < len(r.b) {
		switch r.b[r.pos] {
		case ' ', '\t', '\r', '\n':
			r.pos++
		default:
			return
		}
	}
}

// next skips space and returns the byte that follows, 0 at the end.
func (r *reader) next() byte {
	r.space()
	if r.err != nil || r.pos >= len(r.b) {
		return 0
	}
	return r.b[r.pos]
}

func (r *reader) expect(c byte) bool {
	if r.err != nil {
		return false
	}
	if r.next() != c {
		r.fail("expected " + strconv.QuoteRune(rune(c)))
		return false
	}
	r.pos++
	return true
}

// null consumes a null.
func (r *reader) null() bool {
	if r.next() != 'n' {
		return false
	}
	r.word("null")
	return true
}

func (r *reader) word(w string) {
	if r.err != nil {
		return
	}
	if len(r.b)-r.pos < len(w) || string(r.b[r.pos:r.pos+len(w)]) != w {
		r.fail("expected " + w)
		return
	}
	r.pos += len(w)
}

// object calls field for each member; field must consume the value.
func (r *reader) object(field func(key string)) {
	if r.null() || !r.expect('{') {
		return
	}
	if r.next() == '}' {
		r.pos++
		return
	}
	for r.err == nil {
		key := r.string()
		if !r.expect(':') {
			return
		}
		field(key)
		if r.next() == ',' {
			r.pos++
			continue
		}
		r.expect('}')
		return
	}
}

// array calls item for each element; item must consume it.
func (r *reader) array(item func()) {
	if r.null() || !r.expect('[') {
		return
	}
	if r.next() == ']' {
		r.pos++
		return
	}
	for r.err == nil {
		item()
		if r.next() == ',' {
			r.pos++
			continue
		}
		r.expect(']')
		return
	}
}

func (r *reader) bool() bool {
	switch {
	case r.null():
		return false
	case r.next() == 't':
		r.word("true")
		return r.err == nil
	}
	r.word("false")
	return false
}

func (r *reader) numeral() string {
	r.space()
	start := r.pos
	for r.pos < len(r.b) {
		switch c := r.b[r.pos]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			r.pos++
			continue
		}
		break
	}
	return string(r.b[start:r.pos])
}

func (r *reader) int(bits int) int64 {
	if r.err != nil || r.null() {
		return 0
	}
	n, err := strconv.ParseInt(r.numeral(), 10, bits)
	if err != nil {
		r.fail("expected a whole number")
		return 0
	}
	return n
}

func (r *reader) uint16() uint16 {
	n := r.int(32)
	if n < 0 || n > 0xffff {
		r.fail("number out of range")
		return 0
	}
	return uint16(n)
}

// string reads a string; invalid UTF-8 becomes U+FFFD, as in encoding/json.
func (r *reader) string() string {
	if r.err != nil || r.null() || !r.expect('"') {
		return ""
	}
	start := r.pos
	for r.pos < len(r.b) && r.b[r.pos] != '"' && r.b[r.pos] != '\\' && r.b[r.pos] >= ' ' && r.b[r.pos] < utf8.RuneSelf {
		r.pos++
	}
	if r.pos < len(r.b) && r.b[r.pos] == '"' {
		r.pos++
		return string(r.b[start : r.pos-1])
	}
	out := append([]byte(nil), r.b[start:r.pos]...)
	for r.pos < len(r.b) {
		switch c := r.b[r.pos]; {
		case c == '"':
			r.pos++
			return string(out)
		case c == '\\':
			out = r.escape(out)
			if r.err != nil {
				return ""
			}
		case c < ' ':
			r.fail("control character in a string")
			return ""
		default:
			ru, n := utf8.DecodeRune(r.b[r.pos:])
			out = utf8.AppendRune(out, ru)
			r.pos += n
		}
	}
	r.fail("string without an end")
	return ""
}

func (r *reader) escape(out []byte) []byte {
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if r.pos+1 >= len(r.b) {
		r.fail("string without an end")
		return out
	}
	c := r.b[r.pos+1]
	for i := range len(from) {
		if from[i] == c {
			r.pos += 2
			return append(out, to[i])
		}
	}
	ru, ok := r.unicode(r.pos)
	if !ok {
		r.fail("bad escape")
		return out
	}
	r.pos += 6
	if utf16.IsSurrogate(ru) {
		low, _ := r.unicode(r.pos)
		if both := utf16.DecodeRune(ru, low); both != utf8.RuneError {
			r.pos += 6
			ru = both
		} else {
			ru = utf8.RuneError
		}
	}
	return utf8.AppendRune(out, ru)
}

func (r *reader) unicode(at int) (rune, bool) {
	if at+6 > len(r.b) || r.b[at] != '\\' || r.b[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.b[at+2:at+6]), 16, 16)
	return rune(n), err == nil
}

// raw skips a value and returns its bytes, which alias the document.
func (r *reader) raw() []byte {
	r.space()
	start := r.pos
	r.skip(0)
	if r.err != nil {
		return nil
	}
	return r.b[start:r.pos]
}

func (r *reader) skip(depth int) {
	if depth > maxDepth {
		r.fail("nested too deeply")
	}
	switch c := r.next(); {
	case r.err != nil:
	case c == '{':
		r.object(func(string) { r.skip(depth + 1) })
	case c == '[':
		r.array(func() { r.skip(depth + 1) })
	case c == '"':
		r.skipString()
	case c == 't':
		r.word("true")
	case c == 'f':
		r.word("false")
	case c == 'n':
		r.word("null")
	default:
		if _, err := strconv.ParseFloat(r.numeral(), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			r.fail("expected a value")
		}
	}
}

// skipString is string without the copy.
func (r *reader) skipString() {
	for r.pos++; r.pos < len(r.b); r.pos++ {
		switch c := r.b[r.pos]; {
		case c == '"':
			r.pos++
			return
		case c == '\\':
			r.pos++
		case c < ' ':
			r.fail("control character in a string")
			return
		}
	}
	r.fail("string without an end")
}

// end checks that nothing follows the document.
func (r *reader) end() error {
	if r.next(); r.err == nil && r.pos < len(r.b) {
		r.fail("something follows the document")
	}
	return r.err
}
