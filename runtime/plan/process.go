package plan

import (
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/program"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Args is the command line: a command replaces the image's entry point and
// drops its CMD; arguments alone replace its CMD. It may be empty only for an
// image that knows how to start itself.
func Args(image Image, p Process) ([]string, error) {
	var args []string
	switch {
	case len(p.Command) > 0:
		args = slices.Concat(p.Command, p.Args)
	case len(p.Args) > 0:
		args = slices.Concat(image.Entrypoint, p.Args)
	default:
		args = slices.Concat(image.Entrypoint, image.Cmd)
	}
	if len(args) == 0 && !image.Native {
		return nil, invalid("no command: neither the image nor the container names one")
	}
	if len(args) > 0 && args[0] == "" {
		return nil, invalid("command is an empty string")
	}
	for _, arg := range args {
		if strings.ContainsRune(arg, 0) {
			return nil, invalid("argument %q holds a NUL", arg)
		}
	}
	return args, nil
}

// Env joins the environment: what siflet sets, the image's over it, the
// caller's over both. Each name comes once, where it first appeared.
func Env(image Image, p Process) []string {
	base := []string{"PATH=" + defaultPath}
	if p.Hostname != "" {
		base = append(base, "HOSTNAME="+p.Hostname)
	}
	if p.Terminal {
		base = append(base, "TERM=xterm")
	}
	return JoinEnv(base, image.Env, p.Env)
}

// JoinEnv merges lists of K=V; a later value wins, and entries without a
// name are dropped.
func JoinEnv(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, list := range lists {
		for _, entry := range list {
			name, _, ok := strings.Cut(entry, "=")
			if !ok || name == "" || strings.ContainsRune(entry, 0) {
				continue
			}
			if i, seen := at[name]; seen {
				out[i] = entry
				continue
			}
			at[name] = len(out)
			out = append(out, entry)
		}
	}
	return out
}

// User is who the process runs as: the caller's choice, else the image's.
func User(image Image, asked program.User) program.User {
	if asked.Keep || asked.UID != nil || asked.Spec != "" {
		return asked
	}
	asked.Spec = image.User
	return asked
}

func user(image Image, asked program.User, umask *uint32) specs.User {
	u := User(image, asked)
	out := specs.User{Umask: umask, AdditionalGids: u.Groups}
	if u.UID != nil {
		out.UID = *u.UID
	}
	if u.GID != nil {
		out.GID = *u.GID
	}
	if u.Spec == "" {
		return out
	}
	name, group, hasGroup := strings.Cut(u.Spec, ":")
	id, err := strconv.ParseUint(name, 10, 32)
	numeric := err == nil
	if numeric {
		out.UID = uint32(id)
	}
	if hasGroup {
		id, err := strconv.ParseUint(group, 10, 32)
		numeric = numeric && err == nil
		if err == nil && u.GID == nil {
			out.GID = uint32(id)
		}
	}
	if !numeric {
		// Only the container's own /etc/passwd and /etc/group can tell.
		out.Username = u.Spec
	}
	return out
}
