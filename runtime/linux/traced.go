package linux

import (
	"os"
	"strconv"
	"strings"
)

// IsTraced reports whether somebody, a debugger or criu, holds a process.
func IsTraced(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false // it is gone
	}
	_, after, found := strings.Cut(string(text), "\nTracerPid:")
	tracer, _, _ := strings.Cut(after, "\n")
	return found && strings.TrimSpace(tracer) != "0"
}
