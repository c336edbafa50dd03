package node

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestImageCannotExecuteTheHostsPrograms starts what an image could name if the
// stage had a directory of the host's open at the exec (CVE-2024-21626).
func TestImageCannotExecuteTheHostsPrograms(t *testing.T) {
	s := newStage(t)
	dir := t.TempDir()
	busybox, err := os.ReadFile(filepath.Join("/bin", "busybox"))
	if err != nil {
		t.Skipf("needs busybox: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "echo"), busybox, 0o755))
	const first, last = 3, 40
	e := squashfs(t, func(root string) {
		for fd := first; fd < last; fd++ {
			script := fmt.Sprintf("#!/proc/self/fd/%d/../echo\n", fd)
			must(t, os.WriteFile(filepath.Join(root, "bin", fmt.Sprint("script", fd)), []byte(script), 0o755))
		}
	})
	for fd := first; fd < last; fd++ {
		for _, name := range []string{fmt.Sprintf("/proc/self/fd/%d/../echo", fd), fmt.Sprint("/bin/script", fd)} {
			p := container(e, name, "host")
			p.Root.Upper, p.Root.Work = dir+"/upper", dir+"/work"
			r := s.start(t, "launch", p, newContainer)
			_ = r.cmd.Wait()
			if r.failure == nil {
				t.Errorf("%s ran outside of the container: %s", name, r.out.String())
			}
		}
	}
}
