package selinux

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The kernel's part is tested by test/cri, in a machine that has it.

func TestWhatIsLeftOpenComesFromTheLabelAbove(t *testing.T) {
	const above = "system_u:system_r:container_t:s0:c1,c2"
	for _, c := range []struct {
		asked Options
		above string
		want  []string
	}{
		{Options{}, "", nil},
		{Options{Type: "t", Level: "s0"}, "", []string{"type:t", "level:s0"}},
		{Options{}, above, []string{"user:system_u", "role:system_r", "type:container_t", "level:s0:c1,c2"}},
		{Options{Type: "t"}, above, []string{"user:system_u", "role:system_r", "type:t", "level:s0:c1,c2"}},
		{Options{User: "u", Role: "r", Level: "s0"}, above, []string{"user:u", "role:r", "type:container_t", "level:s0"}},
		{Options{}, "u:r:t", []string{"user:u", "role:r", "type:t"}},
	} {
		got, err := c.asked.over(c.above)
		if err != nil {
			t.Errorf("%v over %q: %v", c.asked, c.above, err)
		}
		if diff := cmp.Diff(c.want, got.list()); diff != "" {
			t.Errorf("%v over %q (-want +got):\n%s", c.asked, c.above, diff)
		}
	}
	if got, err := (Options{}).over("nonsense"); err == nil {
		t.Errorf("over a text that is no label: %v, want an error", got)
	}
}

func labeller(t *testing.T, enabled bool) *Labeller {
	t.Helper()
	l, err := New(enabled, 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLevelsAreHeldUntilTheLastIsReleased(t *testing.T) {
	l := labeller(t, true)
	a, b := Labels{Process: "u:r:t:s0:c1,c2"}, Labels{Process: "u:r:other:s0:c1,c2"}
	l.Hold(a)
	l.Hold(b)
	l.Hold(Labels{})
	l.Release(a)
	if l.held["s0:c1,c2"] != 1 {
		t.Errorf("held = %v, want the level once", l.held)
	}
	l.Release(b)
	l.Release(b)
	l.Release(Labels{})
	if len(l.held) > 0 {
		t.Errorf("held = %v, want nothing", l.held)
	}
}

func TestLabellerThatIsNotEnabledLabelsNothing(t *testing.T) {
	l := labeller(t, false)
	if got, err := l.Make(Labels{Process: "u:r:t:s0"}, Options{}); err != nil || got != (Labels{}) {
		t.Errorf("Make() = %v, %v, want nothing", got, err)
	}
	if _, err := l.Make(Labels{}, Options{Type: "t"}); err == nil || !strings.Contains(err.Error(), "label ?:?:t:?: SELinux is not in use") {
		t.Errorf("Make(type) = %v, want it refused", err)
	}
}

func TestLevelsRunOut(t *testing.T) {
	if _, err := New(true, 1); err == nil {
		t.Error("New() with one category succeeded")
	}
	if _, err := New(true, 1025); err == nil {
		t.Error("New() with 1025 categories succeeded")
	}
	l, err := New(true, 2)
	if err != nil {
		t.Fatal(err)
	}
	l.Hold(Labels{Process: "u:r:t:s0:c0,c1"})
	if _, err := l.Make(Labels{}, Options{}); err == nil || !strings.Contains(err.Error(), "all 1 SELinux levels are in use") {
		t.Errorf("Make() = %v, want it to end", err)
	}
}

func TestTheNodesOwnDirectoriesAreNotRelabelled(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"/", "/etc", "/etc/", "/usr/../usr", "/var/lib", link, link + "/../"} {
		if err := Relabel(source, "u:r:t:s0"); err == nil || !strings.Contains(err.Error(), "is the node's own") {
			t.Errorf("Relabel(%s) = %v, want it refused", source, err)
		}
	}
	if got, err := CheckSource(dir); err != nil || got != dir {
		t.Errorf("CheckSource(%s) = %s, %v", dir, got, err)
	}
	if err := Relabel(filepath.Join(dir, "missing"), "u:r:t:s0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Relabel() of what is missing = %v", err)
	}
}
