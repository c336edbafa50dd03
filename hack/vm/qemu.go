package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
)

// machine is what qemu is told.
type machine struct {
	kernel, initrd string
	accel          string
	memory, cpus   int
	console        bool
	options        string // of the kernel
	dir            string // for files of the run
}

// boot runs the machine to its end and returns the status of its job.
func boot(ctx context.Context, m machine, stdout, stderr io.Writer) (int, error) {
	console := filepath.Join(m.dir, "console")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", m.accel, "-cpu", "max", "-smp", strconv.Itoa(m.cpus),
		"-m", strconv.Itoa(m.memory), "-kernel", m.kernel, "-initrd", m.initrd,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init"+m.options,
		"-device", "virtio-rng-pci",
		"-serial", "file:"+console, "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The kernel sends that signal when this thread ends, not this process.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	runErr := cmd.Run()
	if errors.Is(runErr, exec.ErrNotFound) {
		return 2, fmt.Errorf("%w; install the package qemu-system-x86", runErr)
	}
	messages, err := os.ReadFile(console)
	if err != nil {
		return 2, errors.Join(runErr, err)
	}
	status, ok := jobStatus(string(messages))
	if m.console || !ok || runErr != nil {
		_, _ = stderr.Write(messages)
	}
	switch {
	case ctx.Err() != nil:
		return 2, fmt.Errorf("the machine was ended: %w", context.Cause(ctx))
	case runErr != nil:
		return 2, fmt.Errorf("qemu: %w", runErr)
	case !ok:
		return 2, errors.New("the machine ended without running its job to the end")
	}
	return status, nil
}

// jobStatus finds the last line of the console, written by the init script.
func jobStatus(console string) (int, bool) {
	_, after, ok := strings.Cut(console, "\nsiflet-vm-status ")
	if !ok {
		return 0, false
	}
	word, _, _ := strings.Cut(after, "\n")
	status, err := strconv.Atoi(strings.TrimSpace(word))
	return status, err == nil
}
