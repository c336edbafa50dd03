package cri

import (
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stopSignal is the engine's name of a signal; "" is the runtime's default.
func stopSignal(s criapi.Signal) (string, error) {
	name, ok := criapi.Signal_name[int32(s)]
	if !ok {
		return "", invalid("stop_signal", "unknown signal %d", s)
	}
	if s == criapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return "", nil
	}
	name = strings.TrimPrefix(name, "SIGNAL_")
	// CRI spells the real-time signals in letters.
	name = strings.Replace(name, "MINPLUS", "MIN+", 1)
	return strings.Replace(name, "MAXMINUS", "MAX-", 1), nil
}

// signalOf is CRI's value for an engine's name, SIGTERM when there is none
// (numbers, in an image's STOPSIGNAL).
func signalOf(name string) criapi.Signal {
	name = "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	name = strings.Replace(name, "MIN+", "MINPLUS", 1)
	name = strings.Replace(name, "MAX-", "MAXMINUS", 1)
	if number, ok := criapi.Signal_value["SIGNAL_"+name]; ok {
		return criapi.Signal(number)
	}
	return criapi.Signal_SIGNAL_SIGTERM
}
