package walkthrough

import (
	"os"
	"path/filepath"
	"strings"
)

// Others are the processes that share a namespace with us, as an operator reads them.
func Others() []string {
	var left []string
	own, _ := os.Readlink("/proc/self")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, kind := range []string{"mnt", "net", "ipc"} {
			ours, _ := os.Readlink("/proc/self/ns/" + kind)
			ns, err := os.Readlink(dir + "/ns/" + kind)
			if err != nil || ns != ours || filepath.Base(dir) == own {
				continue
			}
			text, _ := os.ReadFile(dir + "/cmdline") // it may have ended
			left = append(left, "process "+filepath.Base(dir)+" "+strings.ReplaceAll(string(text), "\x00", " "))
			break
		}
	}
	return left
}
