package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime"
)

// own is the mode of a namespace that was asked for, or was not.
func own(namespace bool) runtime.Mode {
	if namespace {
		return runtime.ModeInstance
	}
	return runtime.ModeHost
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
				return nil, usageError{text: fmt.Sprintf("--network-args %q: want portmap=HOST:CONTAINER/tcp with ports from 1 to 65535", arg)}
			}
			ports = append(ports, port)
		}
	}
	if len(ports) > 0 && (!o.net || o.network == "none") {
		return nil, usageError{text: "--network-args portmap=... needs --net and a network"}
	}
	return ports, nil
}

// portmap reads HOST:CONTAINER[/PROTOCOL].
func portmap(text string) (port network.Port, ok bool) {
	numbers, protocol, named := strings.Cut(text, "/")
	if !named {
		protocol = "tcp"
	}
	host, inside, two := strings.Cut(numbers, ":")
	from, err1 := strconv.ParseUint(host, 10, 16)
	to, err2 := strconv.ParseUint(inside, 10, 16)
	if !two || err1 != nil || err2 != nil || from == 0 || to == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return port, false
	}
	return network.Port{Host: uint16(from), Container: uint16(to), Protocol: protocol}, true
}
