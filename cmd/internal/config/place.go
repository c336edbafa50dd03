package config

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// places are where keys are set: a file and a line, or a flag. The empty key is the
// file itself.
type places map[string]string

// of is where a key is set, or else what it is in.
func (p places) of(key string) string {
	for {
		if where, ok := p[key]; ok {
			return where
		}
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
}

// order is the number of the line.
func (places) order(where string) int {
	n, _ := strconv.Atoi(where[strings.LastIndexByte(where, ':')+1:])
	return n
}

// find notes the line of each key and table of a TOML text that is well formed.
func (p places) find(name, text string) {
	for i, key := range keys(text) {
		p.note(key, fmt.Sprintf("%s:%d", name, i))
	}
}

// twice is the key or table at a line of a text that an earlier line has, too, and the
// number of that.
func twice(text string, line int) (key string, first int) {
	seen := map[string]int{}
	for i, key := range keys(text) {
		if i == line {
			return key, seen[key]
		}
		if _, ok := seen[key]; !ok {
			seen[key] = i
		}
	}
	return "", 0
}

// keys are the keys and tables of a TOML text that is well formed, with their lines.
func keys(text string) iter.Seq2[int, string] {
	return func(yield func(line int, key string) bool) {
		table, value := "", valueScanner{}
		for i, line := range strings.Split(text, "\n") {
			if value.open() {
				value.scan(line)
				continue
			}
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			key, rest := "", ""
			if line[0] == '[' {
				table, _ = keyPath(strings.TrimLeft(line, "["), ']')
				key = table
			} else if key, rest = keyPath(line, '='); table != "" {
				key = table + "." + key
			}
			if !yield(i+1, key) {
				return
			}
			value.scan(rest)
		}
	}
}

// note keeps the first place of a key and of the tables that it makes.
func (p places) note(key, where string) {
	for key != "" {
		if _, ok := p[key]; !ok {
			p[key] = where
		}
		key = key[:max(strings.LastIndexByte(key, '.'), 0)]
	}
}

// keyPath reads a key, with dots and quotes perhaps, up to the byte end.
func keyPath(line string, end byte) (key, rest string) {
	var b strings.Builder
	quote := byte(0)
	for i := range len(line) {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == end:
			return b.String(), line[i+1:]
		case quote == 0 && (c == ' ' || c == '\t'):
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// valueScanner follows a value over its lines.
type valueScanner struct {
	depth int    // of brackets
	long  string // the quotes that end the text that goes on; empty if none does
}

func (v *valueScanner) open() bool { return v.depth > 0 || v.long != "" }

func (v *valueScanner) scan(line string) {
	for line != "" {
		if v.long != "" {
			text, rest, ends := strings.Cut(line, v.long)
			if v.long == `"""` && strings.HasSuffix(text, `\`) && ends {
				line = rest
				continue
			}
			if !ends {
				return
			}
			v.long, line = "", rest
			continue
		}
		switch c := line[0]; {
		case c == '#':
			return
		case strings.HasPrefix(line, `"""`) || strings.HasPrefix(line, "'''"):
			v.long = line[:3]
			line = line[2:]
		case c == '"' || c == '\'':
			line = afterText(line, c)
			continue
		case c == '[' || c == '{':
			v.depth++
		case c == ']' || c == '}':
			v.depth--
		}
		line = line[1:]
	}
}

// afterText is what comes behind the text in quotes that line begins with.
func afterText(line string, quote byte) string {
	for i := 1; i < len(line); i++ {
		switch {
		case line[i] == '\\' && quote == '"':
			i++
		case line[i] == quote:
			return line[i+1:]
		}
	}
	return ""
}
