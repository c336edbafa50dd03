package linux

import (
	"encoding/binary"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// ProbeSeccomp tries whether a thread can be given a filter of system calls. It is one that
// lets all of them through, on a thread that nobody uses again.
func ProbeSeccomp() error {
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // for good: the filter goes with the thread
		err := NoNewPrivs()
		if err == nil {
			allow := binary.NativeEndian.AppendUint16(nil, unix.BPF_RET|unix.BPF_K)
			allow = binary.NativeEndian.AppendUint32(append(allow, 0, 0), unix.SECCOMP_RET_ALLOW)
			err = Seccomp(allow, 0)
		}
		done <- err
	}()
	return <-done
}
