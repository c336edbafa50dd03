// Package accounts finds the users and groups of the machine, those of a directory service
// (LDAP, SSSD) too, for which it asks getent(1). Nothing is taken from the environment, as
// os/user does.
package accounts

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
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
	if err != nil || who.Uid != uid {
		return nil, fmt.Errorf("user %s is not in /etc/passwd, and getent does not find it either", uid)
	}
	return who, nil
}

// ByName is the user with a name.
func ByName(name string) (*user.User, error) {
	if who, err := files.LookupUser(name); err == nil {
		return known(who), nil
	}
	who, err := ask(getent, name)
	if err != nil || who.Username != name {
		return nil, fmt.Errorf("user %s is not in /etc/passwd, and getent does not find it either", name)
	}
	return who, nil
}

// GroupName is the name of the group with a number, "" if it has none.
func GroupName(gid string) string {
	if n, err := strconv.Atoi(gid); err == nil {
		if group, err := files.LookupGid(n); err == nil {
			return group.Name
		}
	}
	const fields = 4 // group(5)
	if entry, err := entryOf(getent, "group", gid, fields); err == nil && entry[2] == gid {
		return entry[0]
	}
	return ""
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
	const fields = 7 // passwd(5)
	entry, err := entryOf(program, "passwd", key, fields)
	if err != nil {
		return nil, err
	}
	return &user.User{Username: entry[0], Uid: entry[2], Gid: entry[3], Name: fullName(entry[4]), HomeDir: entry[5]}, nil
}

// entryOf is the entry that a database has for key, in its fields.
func entryOf(program, database, key string, fields int) ([]string, error) {
	const patience = 10 * time.Second // for a service that is far away
	var out strings.Builder
	cmd := exec.Command(program, "--", database, key) //nolint:noctx // the whole command waits for it
	cmd.Env, cmd.Stdout, cmd.WaitDelay = []string{"LC_ALL=C"}, &out, time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return nil, err
	}
	line := strings.TrimSuffix(out.String(), "\n")
	entry := strings.Split(line, ":")
	if len(entry) != fields || strings.Contains(line, "\n") {
		return nil, fmt.Errorf("%s %s %s: want %d fields", program, database, key, fields)
	}
	return entry, nil
}
