package registry

import (
	"net/http"
	"strings"
)

// challenge is what a registry wants to see: for "bearer", a token from realm.
type challenge struct {
	scheme         string // "basic", "bearer"
	realm, service string
	scope          string
}

// challenged picks the challenge that can be met: bearer before basic.
func challenged(header http.Header) (challenge, bool) {
	var found challenge
	for _, text := range header.Values("WWW-Authenticate") {
		for _, c := range parseChallenges(text) {
			if c.scheme == "bearer" && c.realm != "" || c.scheme == "basic" && found.scheme == "" {
				found = c
			}
		}
	}
	return found, found.scheme != ""
}

// parseChallenges reads a header's value (RFC 9110, 11.6.1), leniently: what it can't
// read it skips.
func parseChallenges(text string) []challenge {
	var list []challenge
	for text != "" {
		text = strings.TrimLeft(text, " \t,")
		word := text[:tokenLength(text)]
		rest := strings.TrimLeft(text[len(word):], " \t")
		if word == "" {
			text = text[min(1, len(text)):]
			continue
		}
		if value, ok := strings.CutPrefix(rest, "="); ok && len(list) > 0 {
			var v string
			v, text = parameterValue(strings.TrimLeft(value, " \t"))
			list[len(list)-1].set(strings.ToLower(word), v)
			continue
		}
		list = append(list, challenge{scheme: strings.ToLower(word)})
		text = strings.TrimPrefix(rest, "=")
	}
	return list
}

func (c *challenge) set(name, value string) {
	switch name {
	case "realm":
		c.realm = value
	case "service":
		c.service = value
	case "scope":
		c.scope = value
	default:
	}
}

func tokenLength(text string) int {
	return len(text) - len(strings.TrimLeftFunc(text, func(r rune) bool {
		return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	}))
}

// parameterValue reads a token or a quoted string.
func parameterValue(text string) (value, rest string) {
	if !strings.HasPrefix(text, `"`) {
		// Some leave out the quotes around a URL.
		end := strings.IndexAny(text, ", \t")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:]
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), ""
}
