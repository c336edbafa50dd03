package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall" //nolint:depguard // the names of signals; no system call

	"golang.org/x/term"

	"github.com/siflet/siflet/runtime/linux"
)

// forwarded are the signals that a command passes on to what it runs. In the
// foreground of a terminal both get those of the keyboard: they are taken, so
// that siflet outlives them, and dropped.
func forwarded() []os.Signal {
	return []os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	}
}

// fromKeyboard says that a signal may be one that the terminal sends to everybody
// in its foreground.
func fromKeyboard(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGQUIT }

// foreground says that the process is in the foreground of a terminal.
func foreground() bool {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return false
	}
	// PID (NAME) STATE PPID PGRP SESSION TTY TPGID, and the name may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return len(fields) > 5 && fields[2] == fields[5]
}

// connectTerminal makes the caller's terminal raw and joins it to another
// until done. The function it returns waits for the last output and puts the
// caller's terminal back as it was.
func connectTerminal(master *os.File, done <-chan struct{}) (restore func(), err error) {
	in := int(os.Stdin.Fd())
	state, err := term.MakeRaw(in)
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	resize := func() {
		if width, height, err := term.GetSize(in); err == nil {
			if conn, err := master.SyscallConn(); err == nil {
				_ = conn.Control(func(fd uintptr) { _ = linux.FD(fd).SetSize(uint16(height), uint16(width)) })
			}
		}
	}
	resize()
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changes:
				resize()
			case <-done:
				signal.Stop(changes)
				return
			}
		}
	}()
	output := make(chan struct{})
	go func() {
		defer close(output)
		// The end of a terminal is an error (EIO), as it is meant to be.
		_, _ = io.Copy(os.Stdout, master)
	}()
	// Reading a terminal can't be called off: this goroutine ends with siflet.
	go func() { _, _ = io.Copy(master, os.Stdin) }()
	return func() {
		<-output
		_ = term.Restore(in, state)
	}, nil
}
