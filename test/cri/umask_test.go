package cri_test

import (
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
)

func TestNothingIsForAllToWriteWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0)
	a := start(t)
	syscall.Umask(old)
	pod, p := a.hostPod("p")
	id := a.launch(pod, containerConfig("c", busybox(t), "sleep", "1000"), p)
	for _, dir := range []string{a.dir + "/run", a.dir + "/state"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() == "upper" {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
				t.Errorf("%s: %s", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if mask := string(a.execSync(id, "sh", "-c", "umask").Stdout); mask != "0022\n" {
		t.Errorf("umask of a container: %q, want 0022", mask)
	}
}
