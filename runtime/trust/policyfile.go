package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const (
	maxPolicy = 1 << 20
	maxRules  = 1000
)

// policyText is the policy file as it is written.
type policyText struct {
	Default string     `toml:"default"`
	Rules   []ruleText `toml:"rule"`
}

type ruleText struct {
	Images     textList `toml:"images"`
	Namespaces textList `toml:"namespaces"`
	Require    string   `toml:"require"`
	Keys       textList `toml:"keys"`
	Match      string   `toml:"match"`
}

// textList is a setting that is a list of texts.
type textList []string

// UnmarshalTOML says what to write instead of something else.
func (l *textList) UnmarshalTOML(value any) error {
	if s, ok := value.(string); ok {
		return fmt.Errorf("want a list: write [%q]", s)
	}
	values, ok := value.([]any)
	if !ok {
		return fmt.Errorf("want a list of texts in quotes, not %v", value)
	}
	*l = make(textList, 0, len(values))
	for _, one := range values {
		s, ok := one.(string)
		if !ok {
			return fmt.Errorf("want a list of texts in quotes, without %v", one)
		}
		*l = append(*l, s)
	}
	return nil
}

// parsePolicy reads the text of a policy. key finds the keys that an entry names.
func parsePolicy(text string, key func(entry string) ([]*Key, error)) (*ruleset, error) {
	var p policyText
	meta, err := toml.Decode(text, &p)
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		if parse.LastKey != "" {
			return nil, fmt.Errorf("line %d: %s: %s", parse.Position.Line, parse.LastKey, parse.Message)
		}
		return nil, fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	if err != nil {
		if slices.Contains(strings.Fields(text), "[rule]") {
			return nil, fmt.Errorf("line %d: [rule] is one table; write [[rule]]", lineOf(text, toml.Key{"rule"}))
		}
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("line %d: there is no setting %q", lineOf(text, unknown[0]), unknown[0])
	}
	if len(p.Rules) > maxRules {
		return nil, fmt.Errorf("%d rules are more than there may be (%d)", len(p.Rules), maxRules)
	}
	s := &ruleset{fallback: accept}
	if p.Default != "" {
		s.fallback = requirement(p.Default)
	}
	if err := checkDefault(s.fallback); err != nil {
		if line := lineOf(text, toml.Key{"default"}); line > 0 {
			err = fmt.Errorf("line %d: %w", line, err)
		}
		return nil, err
	}
	for i, one := range p.Rules {
		r, err := one.rule(key)
		if err != nil {
			err = fmt.Errorf("rule %d: %w", i+1, err)
			if line := lineOfRule(text, i); line > 0 {
				err = fmt.Errorf("line %d: %w", line, err)
			}
			return nil, err
		}
		r.number = i + 1
		s.rules = append(s.rules, r)
		for _, e := range r.keys {
			s.keys = append(s.keys, e.keys...)
		}
	}
	s.keys = unique(s.keys)
	return s, nil
}

func checkDefault(r requirement) error {
	switch r {
	case accept, reject:
		return nil
	case signed:
		return errors.New(`default = "signed" names no key; end with a rule for images = ["**"] instead`)
	default:
		return fmt.Errorf(`default is %q; want "accept" or "reject"`, string(r))
	}
}

func (t ruleText) rule(key func(string) ([]*Key, error)) (rule, error) {
	r := rule{require: requirement(t.Require), all: t.Match == "all"}
	switch {
	case r.require != accept && r.require != reject && r.require != signed:
		return r, fmt.Errorf(`require is %q; want "accept", "reject" or "signed"`, t.Require)
	case r.require == signed && len(t.Keys) == 0:
		return r, errors.New(`require = "signed" without keys`)
	case r.require != signed && (len(t.Keys) > 0 || t.Match != ""):
		return r, fmt.Errorf("require = %q with keys or match, which only %q has", t.Require, signed)
	case t.Match != "" && t.Match != "any" && t.Match != "all":
		return r, fmt.Errorf(`match is %q; want "any" or "all"`, t.Match)
	case len(t.Images) == 0:
		return r, errors.New(`no images; write images = ["**"] for all`)
	case t.Namespaces != nil && len(t.Namespaces) == 0:
		return r, errors.New("namespaces is empty; leave it out for all")
	}
	for _, text := range t.Images {
		p, err := parsePattern(text)
		if err != nil {
			return r, err
		}
		r.images = append(r.images, p)
	}
	for _, text := range t.Namespaces {
		g, err := glob(text)
		if err != nil || text == "" || strings.Contains(text, "/") {
			return r, fmt.Errorf("namespaces: pattern %q is not a namespace's", text)
		}
		r.namespaces = append(r.namespaces, g)
	}
	for _, text := range t.Keys {
		keys, err := key(text)
		if err != nil {
			return r, fmt.Errorf("keys: %s: %w", text, err)
		}
		r.keys = append(r.keys, keyEntry{text: text, keys: keys})
	}
	return r, nil
}

// lineOf finds where a setting is written; zero if it is written in an odd way.
func lineOf(text string, key toml.Key) int {
	table := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table = strings.Trim(strings.SplitN(line, "]", 2)[0], "[ ")
			if table == key.String() {
				return i + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		full := slices.DeleteFunc([]string{table, name}, func(s string) bool { return s == "" })
		if ok && strings.Join(full, ".") == key.String() {
			return i + 1
		}
	}
	return 0
}

// lineOfRule finds where a rule begins; zero if it is written in an odd way.
func lineOfRule(text string, number int) int {
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "[[") {
			continue
		}
		if number == 0 {
			return i + 1
		}
		number--
	}
	return 0
}

// policyReader reads a policy and what it names, and keeps track of the files.
type policyReader struct {
	files []watched
	// text is all that was read, so that a policy that was only touched is known
	// as the same.
	text strings.Builder
	dir  []*Key
	keys bool // dir has been read
}

// watched is a file that decides, and which one it was.
type watched struct {
	path  string
	stamp stamp
}

// file reads a file that only its owner may write.
func (r *policyReader) file(path string, limit int64) ([]byte, error) {
	r.files = append(r.files, watched{path, stampOf(path)})
	text, err := readTrusted(path, limit)
	fmt.Fprintf(&r.text, "%q %q\n", path, text)
	return text, err
}

func (r *policyReader) policy(f PolicyFile) (*ruleset, error) {
	path := f.Path
	text, err := r.file(path, maxPolicy)
	if errors.Is(err, os.ErrNotExist) {
		// A link that leads nowhere is a mistake, not a wish to have no policy.
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(err, errors.New("a link to a file that is not there"))
		}
		if !f.Optional {
			return nil, errors.New("there is no such file, so no image may run; write it (an empty one lets every image run)")
		}
		return &ruleset{fallback: accept, absent: true}, nil
	}
	if info, statErr := os.Stat(path); err != nil && statErr == nil && info.IsDir() {
		return nil, fmt.Errorf("a directory; name the file in it: %s", filepath.Join(path, "policy.toml"))
	}
	if err != nil {
		return nil, err
	}
	return parsePolicy(string(text), func(entry string) ([]*Key, error) {
		if strings.Contains(entry, "/") {
			if !filepath.IsAbs(entry) {
				return nil, errors.New("want an absolute path, or a fingerprint")
			}
			return r.keyFile(entry)
		}
		return r.fingerprint(filepath.Join(filepath.Dir(path), "keys"), entry)
	})
}

func (r *policyReader) keyFile(path string) ([]*Key, error) {
	text, err := r.file(path, maxKeyFile)
	if err != nil {
		return nil, unwrapPath(err)
	}
	return ParseKeys(text)
}

// fingerprint finds a key in the directory that belongs to the policy.
func (r *policyReader) fingerprint(dir, id string) ([]*Key, error) {
	if !r.keys {
		r.keys = true
		r.files = append(r.files, watched{dir, stampOf(dir)})
		paths, err := keyPaths(dir)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			keys, err := r.keyFile(path)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			r.dir = append(r.dir, keys...)
		}
	}
	for _, k := range r.dir {
		if k.Is(id) {
			return []*Key{k}, nil
		}
	}
	const systemKeys = "/etc/siflet/keys"
	remedy := "put a file with the key there"
	if dir == systemKeys {
		remedy = "import the key: siflet key import --system FILE"
	}
	return nil, fmt.Errorf("no key in %s has this fingerprint; %s", dir, remedy)
}
