package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAskTakesAnswers(t *testing.T) {
	for answer, want := range map[string]bool{"\n": true, "y\n": true, "No\n": false, "": false} {
		if got := ask(strings.NewReader(answer)); got != want {
			t.Errorf("ask(%q) = %v, want %v", answer, got, want)
		}
	}
}

// interrupting is a person who presses Ctrl-C instead of answering.
type interrupting struct {
	t    *testing.T
	done chan struct{}
}

func (i interrupting) Read([]byte) (int, error) {
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		i.t.Error(err)
	}
	<-i.done
	return 0, io.EOF
}

func TestAskIsInterruptible(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	if ask(interrupting{t, done}) {
		t.Error("Ctrl-C is taken for a yes")
	}
}
