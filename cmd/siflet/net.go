package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
)

// own is the mode of a namespace that was asked for, or was not.
func own(namespace bool) runtime.Mode {
	if namespace {
		return runtime.ModeInstance
	}
	return runtime.ModeHost
}

// attaches says that the container gets a network beside loopback that is not the host's.
func (o *actionOptions) attaches() bool { return o.net && o.network != "none" }

// userResolver is the resolv.conf of a network in user mode, if it can't be the host's.
func (o *actionOptions) userResolver() (text string, differs bool) {
	if !o.attaches() || linux.IsRoot() {
		return "", false
	}
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return "", false
	}
	return network.UserResolvConf(string(host))
}

// ports reads --network-args.
func (o *actionOptions) ports() ([]network.Port, error) {
	var ports []network.Port
	for _, arg := range o.networkArgs {
		for word := range strings.SplitSeq(arg, ";") {
			key, value, _ := strings.Cut(word, "=")
			if key != "portmap" {
				return nil, usageError{text: fmt.Sprintf("--network-args %q: %q is not known; want portmap=HOST:CONTAINER/tcp", arg, key)}
			}
			port, ok := portmap(value)
			if !ok {
				return nil, usageError{text: fmt.Sprintf("--network-args %q: want portmap=[ADDRESS:]HOST:CONTAINER/tcp with ports from 1 to 65535", arg)}
			}
			ports = append(ports, port)
		}
	}
	if len(ports) > 0 && !o.attaches() {
		return nil, usageError{text: "--network-args portmap=... needs --net and a network"}
	}
	return ports, nil
}

// portmap reads [ADDRESS:]HOST:CONTAINER[/PROTOCOL], an IPv6 address in brackets.
func portmap(text string) (port network.Port, ok bool) {
	numbers, protocol, named := strings.Cut(text, "/")
	if !named {
		protocol = "tcp"
	}
	if n := strings.LastIndexByte(numbers, ':'); n > 0 && strings.ContainsRune(numbers[:n], ':') {
		n = strings.LastIndexByte(numbers[:n], ':')
		address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(numbers[:n], "["), "]"))
		if bracketed := strings.HasPrefix(numbers, "[") && numbers[n-1] == ']'; err != nil || bracketed != address.Is6() {
			return port, false
		}
		port.HostIP, numbers = address, numbers[n+1:]
	}
	host, inside, two := strings.Cut(numbers, ":")
	from, err1 := strconv.ParseUint(host, 10, 16)
	to, err2 := strconv.ParseUint(inside, 10, 16)
	if !two || err1 != nil || err2 != nil || from == 0 || to == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return port, false
	}
	port.Host, port.Container, port.Protocol = uint16(from), uint16(to), protocol
	return port, true
}
