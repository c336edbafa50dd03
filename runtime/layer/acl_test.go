package layer

import (
	"archive/tar"
	"encoding/binary"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aclOf is an ACL of entries: tag, permissions, ID.
func aclOf(entries ...[3]uint32) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return string(b)
}

const nobody = 1<<32 - 1

var (
	owner  = [3]uint32{1, 7, nobody}
	group  = [3]uint32{4, 5, nobody}
	mask   = [3]uint32{16, 7, nobody}
	others = [3]uint32{32, 5, nobody}
)

func user(id uint32) [3]uint32 { return [3]uint32{2, 6, id} }

// protectedBy is a file's PAX records.
func protectedBy(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m["SCHILY.xattr."+pairs[i]] = pairs[i+1]
	}
	return m
}

func TestConvertGivesTheACLsThatSayMoreThanTheMode(t *testing.T) {
	five, six := aclOf(owner, user(5), group, mask, others), aclOf(owner, user(6), group, mask, others)
	res, err := convert(t, archive(t,
		tar.Header{Name: "d/", Typeflag: tar.TypeDir, PAXRecords: protectedBy(AccessACL, five, DefaultACL, aclOf(owner, group, others), "user.u", "u")},
		tar.Header{Name: "d/f", PAXRecords: protectedBy(AccessACL, five)},
		tar.Header{Name: "again/", Typeflag: tar.TypeDir, PAXRecords: protectedBy(AccessACL, five)},
		tar.Header{Name: "again/", Typeflag: tar.TypeDir},
		tar.Header{Name: "a", PAXRecords: protectedBy(AccessACL, six)},
		tar.Header{Name: "z", Typeflag: tar.TypeLink, Linkname: "a"},
		tar.Header{Name: "gone", PAXRecords: protectedBy(AccessACL, six)}, tar.Header{Name: "gone"},
		tar.Header{Name: "mode", PAXRecords: protectedBy(AccessACL, aclOf(owner, group, others))},
		tar.Header{Name: "none", PAXRecords: protectedBy(AccessACL, aclOf())},
		tar.Header{Name: "text", PAXRecords: map[string]string{"SCHILY.acl.access": "user::rw-,user:5:rw-,group::r--,mask::rw-,other::r--"}},
		tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "a", PAXRecords: protectedBy(AccessACL, five)},
		tar.Header{Name: "wrong", PAXRecords: protectedBy(AccessACL, five[:30], DefaultACL, five, "system.other", "x")},
	), Options{ACLs: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []ACL{{"a", six, ""}, {"d", five, aclOf(owner, group, others)}, {"d/f", five, ""}, {"z", six, ""}}
	if diff := cmp.Diff(want, res.ACLs); diff != "" {
		t.Errorf("ACLs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{AccessACL: 1, DefaultACL: 1, "system.other": 1}, res.Lost); diff != "" {
		t.Errorf("Lost (-want +got):\n%s", diff)
	}
	for _, d := range res.Directories {
		attributes := map[string]string{AccessACL: five, DefaultACL: aclOf(owner, group, others), "user.u": "u"}
		if d.Path != "d" {
			attributes = nil
		}
		if !maps.Equal(d.Xattrs, attributes) {
			t.Errorf("directory %s has %q, want %q", d.Path, d.Xattrs, attributes)
		}
	}
}

func TestMalformedACLsAreNone(t *testing.T) {
	good := aclOf(owner, user(5), user(6), group, [3]uint32{8, 1, 7}, mask, others)
	if !validACL(good) || !validACL(aclOf(owner, group, mask, others)) || sameAsMode(aclOf(owner, group, mask, others)) {
		t.Error("well-formed ACLs are refused")
	}
	for name, acl := range map[string]string{
		"nothing":               "",
		"another version":       "\x01" + good[1:],
		"half an entry":         good[:len(good)-4],
		"no others":             aclOf(owner, group),
		"no mask":               aclOf(owner, user(5), group, others),
		"two owners":            aclOf(owner, owner, group, others),
		"another order":         aclOf(group, owner, others),
		"an unknown tag":        aclOf(owner, [3]uint32{3, 7, 5}, group, mask, others),
		"more permissions":      aclOf([3]uint32{1, 8, nobody}, group, others),
		"the user that is none": aclOf(owner, user(nobody), group, mask, others),
	} {
		if validACL(acl) || sameAsMode(acl) {
			t.Errorf("%s: %q is taken for an ACL", name, acl)
		}
	}
}

func TestMoreACLsThanALayerMayHaveAreLost(t *testing.T) {
	big := make([][3]uint32, 0, 8000)
	big = append(big, owner)
	for i := range uint32(7000) {
		big = append(big, user(i))
	}
	acl := aclOf(append(big, group, mask, others)...)
	var headers []tar.Header
	for i := range maxACLBytes/len(acl) + 3 {
		headers = append(headers, tar.Header{Name: string(rune('a'+i/26/26%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26)), PAXRecords: protectedBy(AccessACL, acl)})
	}
	res, err := convert(t, archive(t, headers...), Options{ACLs: true})
	if err != nil {
		t.Fatal(err)
	}
	kept := maxACLBytes / (len(acl) + 3)
	if len(res.ACLs) != kept || res.Lost[AccessACL] != int64(len(headers)-kept) {
		t.Errorf("%d of %d kept, %d lost, want %d", len(res.ACLs), len(headers), res.Lost[AccessACL], kept)
	}
}
