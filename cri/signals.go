package cri

import (
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI spells the real-time signals in letters.
func signalWords() *strings.Replacer {
	return strings.NewReplacer("MINPLUS", "MIN+", "MAXMINUS", "MAX-")
}

// stopSignal is the engine's name of a signal; "" is the runtime's default.
func stopSignal(s criapi.Signal) (string, error) {
	name, ok := criapi.Signal_name[int32(s)]
	if !ok {
		return "", invalid("stop_signal", "unknown signal %d", s)
	}
	if s == criapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return "", nil
	}
	return signalWords().Replace(strings.TrimPrefix(name, "SIGNAL_")), nil
}

// signalOf is CRI's value for an engine's name, SIGTERM when there is none
// (numbers, in an image's STOPSIGNAL).
func signalOf(name string) criapi.Signal {
	name = "SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")
	for number := range criapi.Signal_name {
		s := criapi.Signal(number)
		if own, err := stopSignal(s); err == nil && own == name {
			return s
		}
	}
	return criapi.Signal_SIGNAL_SIGTERM
}
