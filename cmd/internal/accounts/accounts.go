// Package accounts finds the users and groups of the machine, those of a directory service
// (LDAP, SSSD) too, for which it asks getent(1). Nothing is taken from the environment, as
// os/user does.
package accounts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	files "github.com/moby/sys/user"
)

// getent is the system's: one that is found in $PATH could be anybody's.
const getent = "/usr/bin/getent"

// ByID is the user with a number.
func ByID(uid string) (*user.User, error) {
	if n, err := strconv.Atoi(uid); err == nil {
		if who, err := files.LookupUid(n); err == nil {
			return known(who), nil
		}
	}
	who, err := ask(getent, uid)
	if err == nil && who.Uid != uid {
		err = errNone
	}
	return who, missing(uid, err)
}

// ByIDs are the users with these numbers, as far as there are any.
func ByIDs(uids []string) (found []*user.User) {
	var others []string
	for _, uid := range uids {
		if n, err := strconv.Atoi(uid); err == nil {
			if who, err := files.LookupUid(n); err == nil {
				found = append(found, known(who))
				continue
			}
		}
		others = append(others, uid)
	}
	entries, _ := entriesOf(getent, passwd, others) // a service that is away knows nobody
	for _, entry := range entries {
		if who := userOf(entry); slices.Contains(others, who.Uid) {
			found = append(found, who)
		}
	}
	return found
}

// ByName is the user with a name.
func ByName(name string) (*user.User, error) {
	if who, err := files.LookupUser(name); err == nil {
		return known(who), nil
	}
	who, err := ask(getent, name)
	if err == nil && who.Username != name {
		err = errNone
	}
	return who, missing(name, err)
}

// GroupName is the name of the group with a number, "" if it has none.
func GroupName(gid string) string { return GroupNames([]string{gid})[gid] }

// GroupNames are the names of the groups with these numbers, by number.
func GroupNames(gids []string) map[string]string {
	names := map[string]string{}
	var others []string
	for _, gid := range gids {
		if n, err := strconv.Atoi(gid); err == nil {
			if group, err := files.LookupGid(n); err == nil {
				names[gid] = group.Name
				continue
			}
		}
		others = append(others, gid)
	}
	entries, _ := entriesOf(getent, group, others) // as in ByIDs
	for _, entry := range entries {
		if slices.Contains(others, entry[2]) {
			names[entry[2]] = entry[0]
		}
	}
	return names
}

// Claimed is the name that the environment has for the caller, if it could be one.
func Claimed() string {
	for _, name := range []string{os.Getenv("USER"), os.Getenv("LOGNAME")} {
		if name != "" && strings.Trim(name, ".") != "" && strings.IndexFunc(name, strange) < 0 {
			return name
		}
	}
	return ""
}

// strange characters are in no user's name: it is part of paths and of lines of /etc/passwd.
func strange(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(`._-@+$\`, r)
}

func known(who files.User) *user.User {
	return &user.User{Username: who.Name, Uid: strconv.Itoa(who.Uid), Gid: strconv.Itoa(who.Gid), Name: fullName(who.Gecos), HomeDir: who.Home}
}

func fullName(gecos string) string {
	name, _, _ := strings.Cut(gecos, ",")
	return name
}

func ask(program, key string) (*user.User, error) {
	entries, err := entriesOf(program, passwd, []string{key})
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errNone
	}
	return userOf(entries[0]), nil
}

func userOf(entry []string) *user.User {
	return &user.User{Username: entry[0], Uid: entry[2], Gid: entry[3], Name: fullName(entry[4]), HomeDir: entry[5]}
}

// errNone means that the service was asked, and has no such entry.
var errNone = errors.New("getent does not find it either")

// missing is the error about a user who is not in /etc/passwd; nil if the service has one.
func missing(key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNone):
		return fmt.Errorf("user %s is not in /etc/passwd, and %w", key, err)
	}
	return fmt.Errorf("user %s is not in /etc/passwd; ask getent: %w", key, err)
}

// database is one of getent's, by its name.
type database string

const (
	passwd database = "passwd"
	group  database = "group"
)

// fields are those of an entry: see passwd(5), group(5).
func (d database) fields() int {
	if d == passwd {
		return 7
	}
	return 4
}

// entriesOf are the entries that a database has for keys, in their fields. The service is
// asked once, and for so many that anybody could mean.
func entriesOf(program string, from database, keys []string) (entries [][]string, err error) {
	const (
		patience = 10 * time.Second // for a service that is far away
		most     = 1000             // keys
		notFound = 2                // of some
	)
	if len(keys) == 0 {
		return nil, nil
	}
	var out strings.Builder
	cmd := exec.Command(program, append([]string{"--", string(from)}, keys[:min(len(keys), most)]...)...) //nolint:noctx // the whole command waits for it
	cmd.Env, cmd.Stdout, cmd.WaitDelay = []string{"LC_ALL=C"}, &out, time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != notFound {
		return nil, err
	}
	for line := range strings.Lines(out.String()) {
		entry := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(entry) != from.fields() {
			return nil, fmt.Errorf("%s %s %s: want %d fields", program, from, keys[0], from.fields())
		}
		entries = append(entries, entry)
	}
	if len(entries) > len(keys) {
		return nil, fmt.Errorf("%s %s %s: more entries than keys", program, from, keys[0])
	}
	return entries, nil
}
