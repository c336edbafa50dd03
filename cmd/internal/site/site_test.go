package site

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKnowsThePeersFiles(t *testing.T) {
	c, err := Parse([]byte(`
# A comment
ALLOW PID NS = no   # another
mount dev = minimal
mount  home=no
bind path = /etc/hosts
bind path = /opt:/mnt/opt, /srv
limit container owners = root, admins
limit container paths = NULL
sessiondir max size = 128
max loop devices = 256
enable overlay = try
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.AllowPIDNs, want.MountDev, want.MountHome, want.SessiondirMaxSize = false, "minimal", false, 128
	want.BindPath = []string{"/etc/hosts", "/opt:/mnt/opt", "/srv"}
	want.LimitContainerOwners = []string{"root", "admins"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseNamesTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"mount proc":                          `line 1: want KEY = VALUE, not "mount proc"`,
		"\nmount prok = yes":                  `line 2: there is no key "mount prok"`,
		"mount proc = maybe":                  "line 1: mount proc = maybe: want yes or no",
		"mount dev = x":                       "want yes or no or minimal",
		"sessiondir max size = 0":             "want a size in MiB",
		"bind path = etc/hosts":               "etc/hosts is not an absolute path",
		"limit container paths = /a,relative": "relative is not an absolute path",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want an error with %q", text, err, want)
		}
	}
}

func TestReadTrustsNoFileThatOthersWrite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, whose file it is to be")
	}
	path := filepath.Join(t.TempDir(), "siflet.conf")
	if c, err := Read(path); err != nil || !cmp.Equal(c, Default()) {
		t.Errorf("without a file: %v, %+v", err, c)
	}
	if err := os.WriteFile(path, []byte("mount sys = no\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := Read(path); err != nil || c.MountSys {
		t.Errorf("%v, %+v", err, c)
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "others than root can write it") {
		t.Errorf("a file that a group can write: %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.Chown(path, 20001, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "others than root can write it") {
		t.Errorf("a file of somebody else: %v", err)
	}
}
