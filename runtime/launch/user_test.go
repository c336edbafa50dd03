package launch

import (
	"reflect"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/program"
)

const (
	passwd = "root:x:0:0:r:/root:/bin/sh\n\nbad:x:y:z\nweb:x:1000:1001::/srv:/bin/sh\r\n" +
		"4294967296:x:0:0::/:\n99999999999999999999:x:0:0::/:\n+1000:x:0:0::/:\nhuge:x:4294967296:1::/:\nnegative:x:-1:1::/:\n1000:x:7:7::/seven:\nhomeless:x:9:9::\n"
	group = "root:x:0:\nweb:x:1001:\nlog:x:1002:other,web\nbad:x:q:web\nops:x:1003:web\nopsagain:x:1003:web\nshort:x:1004\n1002:x:0:\n"
)

func TestResolveUser(t *testing.T) {
	for _, c := range []struct {
		name string
		user program.User
		want identity
	}{
		{"root by default", program.User{}, identity{0, 0, []uint32{0}, "/root"}},
		{"by name", program.User{Spec: "web"}, identity{1000, 1001, []uint32{1001, 1002, 1003}, "/srv"}},
		{"a number is no name", program.User{Spec: "1000"}, identity{1000, 1001, []uint32{1001, 1002, 1003}, "/srv"}},
		{"nor is one of a group", program.User{Spec: "web:1002"}, identity{1000, 1002, []uint32{1002, 1003}, "/srv"}},
		{"with a group by name", program.User{Spec: "web:log"}, identity{1000, 1002, []uint32{1002, 1003}, "/srv"}},
		{"with a group by number", program.User{Spec: "0:55"}, identity{0, 55, []uint32{55}, "/root"}},
		{"a number unknown", program.User{Spec: "4000:short"}, identity{4000, 1004, []uint32{1004}, "/"}},
		{"strict", program.User{Spec: "web", Strict: true, Groups: []uint32{5, 5}}, identity{1000, 1001, []uint32{1001, 5}, "/srv"}},
		{"ids beside a name", program.User{Spec: "web", UID: new(uint32(3)), GID: new(uint32(4))}, identity{3, 4, []uint32{4, 1002, 1003}, "/srv"}},
		{"home unknown", program.User{Spec: "homeless"}, identity{9, 9, []uint32{9}, "/"}},
	} {
		got, err := resolveUser(&c.user, accounts{passwd, group})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestResolveUserRefusesUnknownNamesAndNumbersOutOfRange(t *testing.T) {
	for _, u := range []program.User{
		{Spec: "nosuch"},
		{Spec: "web:nosuch"},
		{Spec: "bad"},
		{Spec: "huge"},
		{Spec: "negative"},
		{Spec: "4294967295"},
		{Spec: "-1"},
		{Spec: "+1000"},
		{Spec: "4294967296"},
		{Spec: "99999999999999999999"},
		{Spec: "web:4294967296"},
		{UID: new(uint32(1 << 31))},
		{GID: new(uint32(1<<32 - 1))},
	} {
		if got, err := resolveUser(&u, accounts{passwd, group}); err == nil {
			t.Errorf("%+v resolved to %+v", u, got)
		}
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add(passwd, group, "web:log")
	f.Add("", "", "")
	f.Add("a:::::::", ":::", ":")
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		id, err := resolveUser(&program.User{Spec: spec}, accounts{passwd, group})
		if err == nil && (id.uid > maxID || id.gid > maxID || id.home == "") {
			t.Errorf("resolveUser = %+v", id)
		}
	})
}

func TestMergePasswdKeepsTheImagesShell(t *testing.T) {
	line := "web:x:5:6:W:/home/w:/bin/zsh"
	for _, c := range [][2]string{
		{"", line + "\n"},
		{"root:x:0:0::/:/bin/sh", "root:x:0:0::/:/bin/sh\n" + line + "\n"},
		{"web:x:1:1::/:/bin/ash\nweb:x:2:2::/:/b\n", "web:x:5:6:W:/home/w:/bin/ash\nweb:x:2:2::/:/b\n"},
		{"web:x:1:1::/:\n", line + "\n"},
		{"web:\nwebx:x:1:1::/:/b\n", line + "\nwebx:x:1:1::/:/b\n"},
	} {
		if got := mergePasswd(c[0], line); got != c[1] {
			t.Errorf("mergePasswd(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func TestParseHierarchies(t *testing.T) {
	got := parseHierarchies("12:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/x\nbroken\n5:cpu:relative\n")
	want := []hierarchy{{"cpu,cpuacct", "/a:b"}, {"name=systemd", "/"}, {"", "/x"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseHierarchies = %v, want %v", got, want)
	}
}

func TestParseDataSeparatesMountFlags(t *testing.T) {
	options, a := parseData(&program.Mount{Type: "tmpfs", Source: "shm", Data: "nosuid,mode=755,,strictatime,ro,size=64k"})
	if strings.Join(options, " ") != "mode=755 size=64k source=shm" || !a.NoSuid || !a.Readonly || a.NoExec || a.NoDev {
		t.Errorf("parseData = %v, %+v", options, a)
	}
}

func TestWantedCapabilitiesAreConsistent(t *testing.T) {
	all := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SYS_RESOURCE"}
	e := newEntry(&program.Process{Capabilities: &program.Capabilities{
		Bounding: all[:1], Permitted: all[:2], Effective: all, Inheritable: all, Ambient: all,
	}})
	if err := e.wantedCaps(); err != nil {
		t.Fatal(err)
	}
	c := e.caps
	if c.Effective&^c.Permitted != 0 || c.Inheritable&^c.Bounding != 0 || c.Ambient&^(c.Permitted&c.Inheritable) != 0 {
		t.Errorf("sets the kernel would refuse: %+v", c)
	}
}
