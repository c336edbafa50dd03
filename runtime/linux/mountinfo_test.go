package linux

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMountsReadsEscapedPlaces(t *testing.T) {
	const table = `60 38 0:31 / / rw,relatime - overlay overlay rw,lowerdir=0
61 60 0:34 / /proc rw,nosuid shared:3 master:1 - proc none rw
53 60 0:25 /a\040b /with\040blank\134040 rw - tmpfs run rw
54 60 0:25 / /odd\9 rw - tmpfs
not a line
55 60 - tmpfs run rw
`
	want := []MountPoint{{"/", "overlay"}, {"/proc", "proc"}, {`/with blank\040`, "tmpfs"}, {`/odd\9`, "tmpfs"}}
	got := Mounts(table)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Mounts() (-want +got):\n%s", diff)
	}
}
