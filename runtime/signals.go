package runtime

import (
	"strconv"
	"strings"
)

const (
	sigKill = 9
	lastSig = 64
)

// ParseSignal turns "SIGTERM", "term", "15" or "SIGRTMIN+3" into a number.
func ParseSignal(name string) (int, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > lastSig {
			return 0, errorf(ErrInvalid, "no signal has the number %d", n)
		}
		return n, nil
	}
	bare := strings.TrimPrefix(strings.ToUpper(name), "SIG")
	for i, known := range signalNames() {
		if bare == known {
			return i + 1, nil
		}
	}
	switch bare {
	case "IOT":
		return 6, nil
	case "CLD":
		return 17, nil
	case "POLL":
		return 29, nil
	}
	const first, last = 34, 64
	if bare == "RTMIN" {
		return first, nil
	}
	if bare == "RTMAX" {
		return last, nil
	}
	if s, ok := strings.CutPrefix(bare, "RTMIN+"); ok {
		if n, err := strconv.Atoi(s); err == nil && n >= 0 && first+n <= last {
			return first + n, nil
		}
	}
	if s, ok := strings.CutPrefix(bare, "RTMAX-"); ok {
		if n, err := strconv.Atoi(s); err == nil && n >= 0 && last-n >= first {
			return last - n, nil
		}
	}
	return 0, errorf(ErrInvalid, "unknown signal %q", name)
}

// signalNames are those of 1 and on, as every architecture of ours has them.
func signalNames() []string {
	return strings.Fields(`HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT
		CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS`)
}

// stopSignal is the signal that asks a container to end.
func stopSignal(asked, image string) (string, error) {
	if asked != "" {
		_, err := ParseSignal(asked)
		return asked, err
	}
	// An image's mistake must not keep it from running.
	if _, err := ParseSignal(image); err == nil {
		return image, nil
	}
	return "SIGTERM", nil
}
