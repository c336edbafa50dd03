package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cliExec runs a command in an image as root, and as somebody who is not.
func cliExec(ctx context.Context, b *bench) ([]result, error) {
	asRoot, err := b.execs(ctx, b.dir, func(*exec.Cmd) {})
	if err != nil {
		return nil, err
	}
	home, err := b.userHome()
	if err != nil {
		return nil, err
	}
	asUser, err := b.execs(ctx, home, func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "HOME="+home, "USER=bench", "XDG_RUNTIME_DIR=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
	})
	if err != nil {
		return nil, err
	}
	return []result{
		{Name: "siflet exec image.sif true", Value: median(asRoot), Unit: "ms", Bar: 15},
		{Name: "the same as an ordinary user", Value: median(asUser), Unit: "ms", Bar: 30},
	}, nil
}

// execs runs a command in the image, again and again.
func (b *bench) execs(ctx context.Context, dir string, as func(*exec.Cmd)) (taken []time.Duration, err error) {
	for range samples {
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "siflet"), "exec", b.image, "true")
		cmd.Dir = dir
		as(cmd)
		began := time.Now()
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("siflet exec: %v: %s", err, text) //nolint:errorlint // not the exit status of this program
		}
		taken = append(taken, time.Since(began))
	}
	return taken, nil
}

// userID is that of an ordinary user, who need not be in any file.
const userID = 20001

// userHome makes a home directory for one, and lets everybody use /dev/fuse here, as on
// machines that people work at.
func (b *bench) userHome() (string, error) {
	home, device := filepath.Join(b.dir, "home"), filepath.Join(b.dir, "fuse")
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return "", err
	}
	if err := errors.Join(os.Mkdir(home, 0o755), os.Chown(home, userID, userID)); err != nil {
		return "", err
	}
	const major, minor = 10, 229
	err := unix.Mknod(device, unix.S_IFCHR, int(unix.Mkdev(major, minor))) //nolint:gosec // small numbers
	if err == nil {
		err = os.Chmod(device, 0o666)
	}
	if err == nil {
		err = unix.Mount(device, "/dev/fuse", "", unix.MS_BIND, "")
	}
	return home, err
}
