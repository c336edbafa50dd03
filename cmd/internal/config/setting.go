package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// setting is one key of a table that is kept in a T. Its type is that of the variable
// that value points to: string, []string, int, bool or time.Duration.
type setting[T any] struct {
	name string
	// section is the heading that this key and those after it come under.
	section string
	// doc says what the key does, as a phrase that begins with a verb; the flag
	// has it too. more is for the file alone.
	doc, more string
	// kind says which texts are good, for those settings that are texts.
	kind kind
	// least and most bound a number or, in seconds, a duration; most of 0 is no bound.
	least, most int
	// some says that a list must not be empty.
	some bool
	// unit of a number.
	unit string
	// unset says what holds by default, for a key whose default can't be written
	// down; example is what it might be, in TOML.
	unset, example string
	// reload says that a change counts without a restart.
	reload bool
	// ofRuntime says that the key is of no use without another runtime.
	ofRuntime bool
	value     func(*T) any
}

// kind is a sort of text.
type kind struct {
	name  string             // "directory"; a list is a list of those
	check func(string) error // nil takes everything
	look  func(string) finding
	// fromHere says that the command line may name a path from the working directory;
	// a file can't, as the agent's may be any.
	fromHere bool
}

// looked is k, and looks at what it names.
func (k kind) looked(look func(string) finding) kind {
	k.look = look
	return k
}

// finding is what is wrong with what a text points to.
type finding struct{ wrong, idle string }

func (s *setting[T]) flag() string { return strings.ReplaceAll(s.name, "_", "-") }

func (s *setting[T]) register(f *pflag.FlagSet, into *T) {
	usage := s.doc
	if s.unset != "" {
		usage += " (default " + s.unset + ")"
	}
	switch v := s.value(into).(type) {
	case *string:
		f.StringVar(v, s.flag(), *v, usage)
	case *[]string:
		f.StringSliceVar(v, s.flag(), *v, usage)
	case *int:
		f.IntVar(v, s.flag(), *v, usage)
	case *bool:
		f.BoolVar(v, s.flag(), *v, usage)
	case *time.Duration:
		f.DurationVar(v, s.flag(), *v, usage)
	default:
		panic("a setting of no known type")
	}
}

// assign copies one setting's variable to another.
func assign(to, from any) {
	switch to := to.(type) {
	case *string:
		*to = *from.(*string) //nolint:forcetypeassert // two of one setting
	case *[]string:
		*to = *from.(*[]string) //nolint:forcetypeassert // likewise
	case *int:
		*to = *from.(*int) //nolint:forcetypeassert // likewise
	case *bool:
		*to = *from.(*bool) //nolint:forcetypeassert // likewise
	case *time.Duration:
		*to = *from.(*time.Duration) //nolint:forcetypeassert // likewise
	}
}

// read takes a value of the file, and says what is wrong with its type.
func (s *setting[T]) read(into *T, value any) error {
	switch to := s.value(into).(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return s.wrongType(value, "a text in quotes")
		}
		*to = text
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			return s.wrongType(value, `a list of texts, such as ["a", "b"]`)
		}
		texts := make([]string, 0, len(list))
		for _, one := range list {
			text, ok := one.(string)
			if !ok {
				return s.wrongType(one, "nothing but texts in quotes in the list")
			}
			texts = append(texts, text)
		}
		*to = texts
	case *int:
		n, ok := value.(int64)
		if !ok || int64(int(n)) != n {
			return s.wrongType(value, "a number")
		}
		*to = int(n)
	case *bool:
		b, ok := value.(bool)
		if !ok {
			return s.wrongType(value, "true or false")
		}
		*to = b
	case *time.Duration:
		text, _ := value.(string)
		d, err := time.ParseDuration(text)
		if err != nil {
			return s.wrongType(value, `a duration with its unit, in quotes, such as "30s" or "5m"; `+s.bounds())
		}
		*to = d
	}
	return nil
}

func (s *setting[T]) wrongType(value any, want string) error {
	return fmt.Errorf("%s: %s; want %s", s.name, describe(value), want)
}

func describe(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case map[string]any:
		return "is a table"
	case []any, []map[string]any:
		return "is a list"
	default:
		return fmt.Sprint(v)
	}
}

// verify checks a value that somebody gave, as far as that needs no look at the machine.
func (s *setting[T]) verify(c *T, where string) (problems Problems) {
	wrong := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if !strings.HasPrefix(where, "--") {
			text = s.name + ": " + text
		}
		problems = append(problems, Problem{where, text})
	}
	switch v := s.value(c).(type) {
	case *int:
		if *v < s.least || s.most > 0 && *v > s.most {
			wrong("%d %s; want %s", *v, s.unit, s.bounds())
		}
	case *time.Duration:
		if *v < time.Duration(s.least)*time.Second || s.most > 0 && *v > time.Duration(s.most)*time.Second {
			wrong("%s; want %s", span(*v), s.bounds())
		}
	default:
		texts := s.texts(c)
		if s.some && len(texts) == 0 {
			wrong("the list is empty; want at least one %s", s.kind.name)
		}
		for _, text := range texts {
			if s.kind.check == nil {
				continue
			}
			if err := s.kind.check(text); err != nil {
				wrong("%q: %v", text, err)
			}
		}
	}
	return problems
}

// texts are the value, if it is made of texts.
func (s *setting[T]) texts(c *T) []string {
	switch v := s.value(c).(type) {
	case *string:
		return []string{*v}
	case *[]string:
		return *v
	default:
		return nil
	}
}

// bounds say what a number may be.
func (s *setting[T]) bounds() string {
	var c T
	written := strconv.Itoa
	if _, ok := s.value(&c).(*time.Duration); ok {
		written = func(n int) string { return span(time.Duration(n) * time.Second) }
	}
	if s.most > 0 {
		return written(s.least) + " to " + written(s.most)
	}
	return written(s.least) + " or more"
}

// typeName is the type for people.
func (s *setting[T]) typeName() string {
	var c T
	switch s.value(&c).(type) {
	case *[]string:
		return "list of texts: " + s.kind.name
	case *int:
		if s.unit != "" {
			return "number of " + s.unit + ", " + s.bounds()
		}
		return "number, " + s.bounds()
	case *bool:
		return "true or false"
	case *time.Duration:
		return "duration, such as \"1m30s\", " + s.bounds()
	default:
		return "text: " + s.kind.name
	}
}

// write is the value in TOML.
func (s *setting[T]) write(c *T) string {
	switch v := s.value(c).(type) {
	case *string:
		return quote(*v)
	case *[]string:
		quoted := make([]string, 0, len(*v))
		for _, text := range *v {
			quoted = append(quoted, quote(text))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *time.Duration:
		return quote(span(*v))
	case *int:
		return strconv.Itoa(*v)
	case *bool:
		return strconv.FormatBool(*v)
	default:
		return ""
	}
}

// span is a duration without the minutes and seconds that it has not.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// quote writes a basic string of TOML.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
