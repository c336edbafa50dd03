package layer

import (
	"encoding/binary"
	"math"
	"strings"
)

// The extended attributes that POSIX ACLs are for tars and for the kernel. Squashfs can't hold them.
const (
	AccessACL  = "system.posix_acl_access"
	DefaultACL = "system.posix_acl_default"
)

// ACL is what the POSIX ACLs of a name say beyond its mode, as the values of AccessACL
// and DefaultACL. They are well-formed; "" is none. Only a directory has a default.
type ACL struct {
	Path            string
	Access, Default string
}

// none says that there is nothing beyond the mode.
func (a ACL) none() bool { return a.Access == "" && a.Default == "" }

// Bounds of the ACLs of a layer: of their number, and of what they and their paths take.
const (
	maxACLs     = 100_000
	maxACLBytes = 32 << 20
)

// acls takes the ACLs from a header's extended attributes that squashfs has no place
// for. lost are those of the others that are of use.
func acls(foreign map[string]string, mode uint32) (a ACL, lost []string) {
	for name, value := range foreign {
		isACL := name == AccessACL || name == DefaultACL
		switch {
		case isACL && (mode&typeMask == typeSymlink || len(value) == aclHeader && validACL(value)):
			// None has an ACL, the other removes it.
		case name == AccessACL && sameAsMode(value):
		case name == AccessACL && validACL(value):
			a.Access = strings.Clone(value)
		case name == DefaultACL && mode&typeMask == typeDir && validACL(value):
			a.Default = strings.Clone(value)
		default:
			lost = append(lost, name)
		}
	}
	return a, lost
}

// An ACL, as posix_acl_xattr.h has it: a version, then entries of a tag, permissions
// and an ID. The tags are in this order, and those with an ID may come more than once.
const (
	aclHeader  = 4
	aclEntry   = 8
	aclVersion = 2

	tagOwner  = 0x01
	tagUser   = 0x02
	tagGroup  = 0x04
	tagGroups = 0x08
	tagMask   = 0x10
	tagOther  = 0x20
)

// validACL says that the kernel would take an ACL.
func validACL(value string) bool {
	b := []byte(value)
	if len(b) < aclHeader || len(b) > maxXattr || (len(b)-aclHeader)%aclEntry != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return false
	}
	var seen, last uint16
	for rest := b[aclHeader:]; len(rest) > 0; rest = rest[aclEntry:] {
		tag, perm, id := binary.LittleEndian.Uint16(rest), binary.LittleEndian.Uint16(rest[2:]), binary.LittleEndian.Uint32(rest[4:])
		named := tag == tagUser || tag == tagGroups
		switch tag {
		case tagOwner, tagUser, tagGroup, tagGroups, tagMask, tagOther:
		default:
			return false
		}
		if tag < last || tag == last && !named || perm > 7 || named && id == math.MaxUint32 {
			return false
		}
		last, seen = tag, seen|tag
	}
	if len(b) == aclHeader {
		return true
	}
	const basic = tagOwner | tagGroup | tagOther
	return seen&basic == basic && (seen&(tagUser|tagGroups) == 0 || seen&tagMask != 0)
}

// sameAsMode knows an access ACL that says no more than the mode: the owner, the group
// and the others, and nobody by name.
func sameAsMode(value string) bool {
	return len(value) == aclHeader+3*aclEntry && validACL(value)
}

// keep adds what a name's ACLs say to a result, or counts them as lost.
func (c *conversion) keep(res *Result, name string, a *ACL) {
	if a == nil {
		return
	}
	size := int64(len(name) + len(a.Access) + len(a.Default))
	if len(res.ACLs) < maxACLs && c.acls+size <= maxACLBytes {
		c.acls += size
		res.ACLs = append(res.ACLs, ACL{Path: name, Access: a.Access, Default: a.Default})
		return
	}
	res.lose(a)
}

// lose counts ACLs that are lost.
func (r *Result) lose(a *ACL) {
	if a.Access != "" {
		r.Lost[AccessACL]++
	}
	if a.Default != "" {
		r.Lost[DefaultACL]++
	}
}
