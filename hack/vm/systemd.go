package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const release = "bookworm" // as the kernel

// stageTwoSystemd gets the machine as far as systemd needs it. The root is what
// chroot made of it, which is why systemd is told what to do here and not by the
// kernel's command line.
const stageTwoSystemd = `
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs -o mode=755 devtmpfs /dev
mount -t tmpfs -o mode=1777,size=90% tmp /tmp
for m in $(cat /modules/order); do insmod /modules/$m || echo "vm: module $m" >/dev/console; done
exec /lib/systemd/systemd --unit=siflet-vm.service --show-status=no --log-target=kmsg --log-level=notice
`

const stageThree = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
` + theJob

const jobUnit = `[Unit]
Description=What the machine is for
Wants=dbus.socket
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/busybox sh /stage3
TasksMax=infinity
LimitNOFILE=1048576
`

// addDebian adds a Debian that systemd runs. It is made once, below the user's
// cache directory.
func addDebian(ctx context.Context, a *archive) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	name := filepath.Join(cache, "siflet", "systemd-"+release+".tar")
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
		if err := makeDebian(ctx, name); err != nil {
			return fmt.Errorf("make a Debian with systemd: %w", err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if err := a.addTar(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.file("/etc/systemd/system/siflet-vm.service", 0o644, jobUnit)
	a.file("/stage3", 0o644, stageThree)
	return a.err
}

func makeDebian(ctx context.Context, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	// Another run may do the same at this moment.
	dir, err := os.MkdirTemp(filepath.Dir(name), ".systemd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // What is left there is only cache.
	half := filepath.Join(dir, "root.tar")
	out, err := exec.CommandContext(ctx, "mmdebstrap", "--variant=apt", "--include=systemd,systemd-sysv,dbus", release, half).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w; install the package mmdebstrap", err)
	}
	if err != nil {
		const last = 2000
		return fmt.Errorf("mmdebstrap: %w\n%s", err, out[max(0, len(out)-last):])
	}
	return os.Rename(half, name)
}

// spared is what no test misses in the memory that the machine's files take.
func spared(name string) bool {
	for _, dir := range []string{
		"/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/perl", "/usr/lib/x86_64-linux-gnu/perl",
		"/usr/share/zoneinfo/", "/usr/share/i18n/", "/usr/lib/x86_64-linux-gnu/gconv/", "/var/cache/", "/var/lib/apt/", "/var/lib/dpkg/", "/dev/",
	} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

func (a *archive) addTar(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return a.err
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		if spared(name) || name == "/" || a.made[name] {
			continue
		}
		perm := uint32(h.FileInfo().Mode().Perm())
		if h.FileInfo().Mode()&os.ModeSetuid != 0 {
			perm |= 0o4000
		}
		switch h.Typeflag {
		case tar.TypeDir:
			a.made[name] = true
			a.entry(name, 0o040000|perm, 0, 0, 0, nil)
		case tar.TypeReg:
			a.entry(name, 0o100000|perm, 0, 0, h.Size, t)
		case tar.TypeSymlink:
			a.made[name] = true // it may be what stands for a directory
			a.link(name, h.Linkname)
		case tar.TypeLink:
			a.link(name, path.Clean("/"+h.Linkname))
		}
	}
}
