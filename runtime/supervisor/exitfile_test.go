package supervisor

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

func TestExitIsRecordedOnAFullDisk(t *testing.T) {
	// A file system that nobody else sees.
	mount, err := linux.NewMount("tmpfs", []string{"size=64k"}, linux.Attr{})
	if errors.Is(err, linux.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer linux.Close(mount)
	dir := fmt.Sprintf("/proc/self/fd/%d", mount)
	reserveExit(dir + "/exit.json")
	if err := os.WriteFile(dir+"/fill", make([]byte, 128<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	exit := &Exit{Version: ProtocolVersion, Code: 3, At: time.Unix(1, 0)}
	if err := writeExit(dir+"/exit.json", exit); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dir + "/exit.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"version":1,"code":3,"at":"1970-01-01T00:00:01Z"}` + "\n"; string(got) != want {
		t.Errorf("exit.json = %q, want %q", got, want)
	}
}
