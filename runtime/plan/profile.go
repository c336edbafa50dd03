package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// profileFile is a profile as people write it: Docker's format, of which the OCI
// runtime's is a part, with what Podman and CRI-O add.
type profileFile struct {
	seccomp.Seccomp
	DefaultErrno string            `json:"defaultErrno"`
	Syscalls     []json.RawMessage `json:"syscalls"` // of profileRule
}

type profileRule struct {
	seccomp.Syscall
	Errno string `json:"errno"`
}

// ParseProfile reads a profile. A key that no format has is refused: somebody meant
// something by it.
func ParseProfile(text []byte, k Kernel, caps []string) (*specs.LinuxSeccomp, error) {
	var file profileFile
	var whole json.RawMessage
	err := json.Unmarshal(text, &whole) // nothing follows
	if err == nil {
		err = misfit("", strict(text, &file))
	}
	if err != nil {
		return nil, invalid("decode seccomp profile: %w", err)
	}
	if file.DefaultAction == "" {
		return nil, invalid("seccomp profile has no defaultAction")
	}
	if len(file.Architectures) > 0 && len(file.ArchMap) > 0 {
		return nil, invalid("seccomp profile has both architectures and archMap")
	}
	config := &file.Seccomp
	if config.DefaultErrnoRet, err = errno(file.DefaultErrno, config.DefaultErrnoRet); err != nil {
		return nil, fmt.Errorf("seccomp profile: defaultErrno: %w", err)
	}
	for i, text := range file.Syscalls {
		rule, err := parseRule(text, fmt.Sprintf("syscalls[%d]", i))
		if err != nil {
			return nil, err
		}
		config.Syscalls = append(config.Syscalls, rule)
	}
	return resolve(config, k, caps), nil
}

func parseRule(text []byte, at string) (*seccomp.Syscall, error) {
	var rule *profileRule
	if err := misfit(at, strict(text, &rule)); err != nil {
		return nil, invalid("decode seccomp profile: %w", err)
	}
	switch {
	case rule == nil:
		return nil, invalid("decode seccomp profile: %s: want an object, not null", at)
	case rule.Name != "" && len(rule.Names) > 0: //nolint:staticcheck // old profiles have it
		return nil, invalid("seccomp profile has a rule with both name and names: %s", at)
	}
	var err error
	if rule.ErrnoRet, err = errno(rule.Errno, rule.ErrnoRet); err != nil {
		return nil, fmt.Errorf("seccomp profile: %s.errno: %w", at, err)
	}
	return &rule.Syscall, nil
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// misfit says of JSON that is well-formed what is wrong with it. A rule of which at
// says where it is has byte offsets of its own.
func misfit(at string, err error) error {
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		// There is no type for it.
		text := strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "unknown key", 1)
		return errors.New(strings.TrimPrefix(at+": "+text, ": "))
	}
	want := map[reflect.Kind]string{
		reflect.String: "a string", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "an object", reflect.Map: "an object",
	}[wrong.Type.Kind()]
	if want == "" {
		want = "a number that fits"
	}
	// Structs within structs are Go's, not the profile's.
	field := strings.NewReplacer("Seccomp.", "", "LinuxSeccomp.", "", "LinuxSyscall.", "", "Syscall.", "").Replace(wrong.Field)
	if at != "" {
		return fmt.Errorf("%s: want %s, not %s", strings.TrimSuffix(at+"."+field, "."), want, wrong.Value)
	}
	return fmt.Errorf("%s, at byte %d: want %s, not %s", cmp.Or(field, "the profile"), wrong.Offset, want, wrong.Value)
}
