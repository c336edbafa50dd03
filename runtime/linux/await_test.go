package linux

import (
	"os"
	goruntime "runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSignalsDoNotEndAWait has a thread that waits hit by signals, as Go's scheduler and
// the ends of children send them, before there is anything to read.
func TestSignalsDoNotEndAWait(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := r.Fd()
	thread, readable := make(chan int), make(chan bool)
	go func() {
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		thread <- unix.Gettid()
		err := FD(fd).AwaitInput(-1)
		readable <- err == nil && FD(fd).Readable()
	}()
	tid := <-thread
	for range 1000 {
		if err := unix.Tgkill(os.Getpid(), tid, unix.SIGURG); err != nil {
			t.Fatal(err)
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 10_000}, nil) //nolint:errcheck // it may be cut short
	}
	if _, err := w.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if !<-readable {
		t.Error("a signal ended the wait")
	}
}
