package network

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Listener names, for a message, the process that has bound a port of a protocol, tcp or
// udp, in the caller's network namespace: "process 12 (nginx)", or "another process" if
// that can't be found out.
func Listener(protocol string, port uint16) string {
	return listener(mapping{Protocol: protocol, Host: netip.AddrPortFrom(netip.IPv4Unspecified(), port)})
}

// Listens says whether somebody waits for others at a TCP port in the network namespace of
// a process, which need not be entered for that.
func Listens(pid int, port uint16) bool {
	sockets := map[string]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		addBound(sockets, fmt.Sprintf("/proc/%d/net/%s", pid, table), port)
	}
	return len(sockets) > 0
}

// listener names, for an error message, the process that has bound what m maps.
func listener(m mapping) string {
	const unknown = "another process"
	sockets := map[string]bool{}
	for _, table := range []string{m.Protocol, m.Protocol + "6"} {
		addBound(sockets, "/proc/thread-self/net/"+table, m.Host.Port())
	}
	if len(sockets) == 0 {
		return unknown
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd")
	if err != nil {
		return unknown
	}
	for _, dir := range fds {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it ended
		}
		for _, entry := range entries {
			target, err := os.Readlink(filepath.Join(dir, entry.Name()))
			if err != nil || !sockets[target] {
				continue
			}
			process := filepath.Dir(dir)
			comm, err := os.ReadFile(filepath.Join(process, "comm"))
			if err != nil {
				continue
			}
			return fmt.Sprintf("process %s (%s)", filepath.Base(process), strings.TrimSpace(string(comm)))
		}
	}
	return unknown
}

// addBound adds the sockets in a table like /proc/net/tcp whose local port is
// port and that have no peer.
func addBound(sockets map[string]bool, table string, port uint16) {
	file, err := os.Open(table)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[2], ":0000") {
			continue
		}
		_, hex, ok := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); ok && err == nil && uint16(n) == port {
			sockets["socket:["+fields[9]+"]"] = true
		}
	}
}
