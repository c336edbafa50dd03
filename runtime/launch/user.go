package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// identity is who the process runs as.
type identity struct {
	uid, gid uint32
	groups   []uint32
	home     string
}

// maxID is the highest user and group id: what fits a signed 32-bit number, as
// the kernel's callers assume.
const maxID = 1<<31 - 1

// accounts is the text of a container's /etc/passwd and /etc/group.
type accounts struct{ passwd, group string }

// readAccounts reads the account files; those that are missing are empty.
func readAccounts(root int) (accounts, error) {
	var a accounts
	for _, file := range []struct {
		name string
		text *string
	}{{"/etc/passwd", &a.passwd}, {"/etc/group", &a.group}} {
		data, err := linux.ReadIn(root, file.name, accountsLimit)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, linux.ENOTDIR) {
			return accounts{}, err
		}
		*file.text = string(data)
	}
	return a, nil
}

// findUser looks the user up before the accounts may be masked. A process that is
// restored is who it was.
func (s *stage) findUser() error {
	if s.p.Restore != nil {
		return nil
	}
	return s.entry.findUser(s.root)
}

// findUserInside is findUser in a running container. Where the accounts are masked it
// looks behind the masks, in a copy of the container's mounts.
func (s *stage) findUserInside() error {
	var masks []string
	for _, name := range s.p.MaskedPaths {
		if name = path.Clean("/" + name); name == "/etc" || name == "/etc/passwd" || name == "/etc/group" {
			masks = append(masks, name)
		}
	}
	if len(masks) == 0 {
		return s.entry.findUser(s.root)
	}
	slices.Reverse(masks) // the last one may cover others
	if err := linux.Uncover(masks); err != nil {
		return err
	}
	root, err := linux.Open("/", linux.OPath|linux.ODirectory)
	if err == nil {
		err = s.entry.findUser(root)
		linux.Close(root)
	}
	if err != nil {
		return err
	}
	linux.Close(s.root)
	return s.join()
}

// resolveUser finds who u is among a container's accounts.
func resolveUser(u *program.User, a accounts) (identity, error) {
	name, group, grouped := strings.Cut(u.Spec, ":")
	if u.UID != nil && u.Spec == "" {
		name = strconv.FormatUint(uint64(*u.UID), 10)
	}
	if name == "" {
		name = "0"
	}
	id := identity{home: "/"}
	if _, ok := parseID(name); numeric(name) && !ok {
		return identity{}, fail(kindInvalid, fs.ErrInvalid, "user %s", name)
	}
	entry, found := findUser(a.passwd, name)
	switch {
	case found:
		id = entry.identity
	default:
		uid, ok := parseID(name)
		if !ok {
			return identity{}, missing("user", name, "/etc/passwd")
		}
		id.uid = uid
	}
	if u.UID != nil {
		id.uid = *u.UID
	}
	switch {
	case u.GID != nil:
		id.gid = *u.GID
	case grouped && group != "":
		gid, err := findGroup(a.group, group)
		if err != nil {
			return identity{}, err
		}
		id.gid = gid
	}
	if id.uid > maxID || id.gid > maxID {
		return identity{}, fail(kindInvalid, fs.ErrInvalid, "user %d, group %d", id.uid, id.gid)
	}
	// With the primary group among them, or files that deny that group something
	// would not deny it to this process (CVE-2023-25173).
	id.groups = []uint32{id.gid}
	for _, gid := range u.Groups {
		if !slices.Contains(id.groups, gid) {
			id.groups = append(id.groups, gid)
		}
	}
	if !u.Strict && found {
		id.groups = appendMemberships(id.groups, a.group, entry.name)
	}
	return id, nil
}

func missing(what, name, file string) error {
	return fail(kindNotFound, fmt.Errorf("no such %s in the container's %s", what, file), "find %s %q", what, name)
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= maxID
}

// account is a passwd(5) line.
type account struct {
	identity
	name string
}

// numeric reports whether a user or group is given by number. Then it is never a
// name: an image could call root "1000", and whoever checked that the user is
// not root did so by that number.
func numeric(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// findUser finds a user by number, if want is one, or else by name.
func findUser(passwd, want string) (account, bool) {
	number, _ := parseID(want)
	isNumber := numeric(want)
	for line := range strings.Lines(passwd) {
		const fields = 7
		f := strings.SplitN(strings.TrimRight(line, "\r\n"), ":", fields)
		const home = 5
		if len(f) <= home || f[0] == "" {
			continue
		}
		uid, ok := parseID(f[2])
		gid, ok2 := parseID(f[3])
		if !ok || !ok2 {
			continue
		}
		found := account{name: f[0], identity: identity{uid: uid, gid: gid, home: f[home]}}
		if found.home == "" {
			found.home = "/"
		}
		if isNumber && uid == number || !isNumber && f[0] == want {
			return found, true
		}
	}
	return account{}, false
}

// findGroup takes a group as a number, if it is one, or else finds its name's.
func findGroup(group, want string) (uint32, error) {
	if numeric(want) {
		gid, ok := parseID(want)
		if !ok {
			return 0, fail(kindInvalid, fs.ErrInvalid, "group %s", want)
		}
		return gid, nil
	}
	for line := range strings.Lines(group) {
		if name, gid, _, ok := groupLine(line); ok && name == want {
			return gid, nil
		}
	}
	return 0, missing("group", want, "/etc/group")
}

// maxGroups is how many supplementary groups the kernel takes.
const maxGroups = 65536

// appendMemberships adds the groups that list user as a member.
func appendMemberships(groups []uint32, group, user string) []uint32 {
	seen := make(map[uint32]bool, len(groups))
	for _, gid := range groups {
		seen[gid] = true
	}
	for line := range strings.Lines(group) {
		_, gid, members, ok := groupLine(line)
		if !ok || seen[gid] || len(groups) >= maxGroups {
			continue
		}
		for member := range strings.SplitSeq(members, ",") {
			if member == user {
				seen[gid] = true
				groups = append(groups, gid)
				break
			}
		}
	}
	return groups
}

func groupLine(line string) (name string, gid uint32, members string, ok bool) {
	const fields = 4
	f := strings.SplitN(strings.TrimRight(line, "\r\n"), ":", fields)
	if len(f) < fields-1 || f[0] == "" {
		return "", 0, "", false
	}
	if len(f) == fields {
		members = f[fields-1]
	}
	gid, ok = parseID(f[2])
	return f[0], gid, members, ok
}
