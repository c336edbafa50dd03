package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
)

// port is a socket in an instance that waits for others, or a port of the host that
// is mapped to one.
type port struct {
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	Address  string `json:"address,omitempty"` // empty: nobody listens there
	PID      int    `json:"pid,omitempty"`
	Process  string `json:"process,omitempty"`
	// Host is the port of the host that leads there; 0 if none does.
	Host uint16 `json:"hostPort,omitempty"`
}

func (w *workshop) portsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ports [flags] NAME", Short: "show where an instance or a pod listens, and the ports of the host that lead there",
		Args: exactly(1, "want the name of an instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := w.target(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			ports, err := t.ports()
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "\t")
				return encoder.Encode(map[string][]port{"ports": ports})
			}
			rows := [][]string{{"PORT", "ADDRESS", "PROCESS", "HOST PORT"}}
			for _, p := range ports {
				rows = append(rows, []string{
					fmt.Sprintf("%d/%s", p.Port, p.Protocol), orDash(p.Address), orDash(p.Process), orDash(number(int(p.Host))),
				})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
	w.registerUser(cmd)
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	return cmd
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// ports are the sockets of the instance's processes that wait for others, and the
// ports that are mapped.
func (t target) ports() ([]port, error) {
	first := t.instance.InitPID
	if first == 0 {
		first = t.container.PID
	}
	if first == 0 {
		return nil, fmt.Errorf("nothing runs in %s", t.instance.Spec.Name)
	}
	owners, err := socketsOf(first)
	if err != nil {
		return nil, err
	}
	var ports []port
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		ports = append(ports, waiting(fmt.Sprintf("/proc/%d/net/%s", t.instance.SupervisorPID, table), owners)...)
	}
	shared := t.instance.Spec.Namespaces.Network == runtime.ModeHost
	for i := range ports {
		if shared {
			ports[i].Host = ports[i].Port
		}
	}
	return withMapped(ports, t.instance.Spec.Ports), nil
}

// withMapped adds the ports of the host that are mapped: a line for each that leads to
// a socket, and one for those that lead to none.
func withMapped(ports []port, mapped []network.Port) []port {
	var all []port
	led := map[int]bool{}
	for _, p := range ports {
		before := len(all)
		for n, m := range mapped {
			if m.Host != 0 && m.Protocol == p.Protocol && m.Container == p.Port {
				led[n], p.Host = true, m.Host
				all = append(all, p)
			}
		}
		if len(all) == before {
			all = append(all, p)
		}
	}
	for n, m := range mapped {
		if m.Host != 0 && !led[n] {
			all = append(all, port{Protocol: m.Protocol, Port: m.Container, Host: m.Host})
		}
	}
	slices.SortStableFunc(all, func(a, b port) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Protocol+a.Address, b.Protocol+b.Address), cmp.Compare(a.Host, b.Host))
	})
	return all
}

// socketsOf are the sockets that processes have open in the PID namespace of one.
func socketsOf(first int) (map[string]int, error) {
	of, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", first))
	if err != nil {
		return nil, err
	}
	owners := map[string]int{}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range processes {
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != of {
			continue // another's, or it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		entries, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue // it has ended
		}
		for _, entry := range entries {
			link, err := os.Readlink(filepath.Join(dir, "fd", entry.Name()))
			inode, found := strings.CutPrefix(link, "socket:[")
			if known, ok := owners[strings.TrimSuffix(inode, "]")]; err == nil && found && (!ok || pid < known) {
				owners[strings.TrimSuffix(inode, "]")] = pid
			}
		}
	}
	return owners, nil
}

// waiting are the sockets in a table like /proc/net/tcp that have an owner and no peer.
func waiting(table string, owners map[string]int) []port {
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // read only
	var ports []port
	protocol := strings.TrimSuffix(filepath.Base(table), "6")
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[2], ":0000") || protocol == "tcp" && fields[3] != "0A" {
			continue
		}
		pid, ours := owners[fields[9]]
		address, err := socketAddress(fields[1])
		if !ours || err != nil || address.Port() == 0 {
			continue
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may have ended
		ports = append(ports, port{
			Protocol: protocol, Port: address.Port(), Address: address.Addr().String(), PID: pid, Process: strings.TrimSpace(string(name)),
		})
	}
	return ports
}

// socketAddress reads ADDRESS:PORT in hexadecimal digits, the address in words of this
// machine's byte order.
func socketAddress(text string) (netip.AddrPort, error) {
	address, number, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(number, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", text)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}
