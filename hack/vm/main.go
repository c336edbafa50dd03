// Command vm runs tests, or any command, as root under a Debian kernel with
// cgroup v2, inside qemu. It needs neither root nor KVM.
//
//	go run ./hack/vm -test ./cgroups -test ./test/node
//	go run ./hack/vm -test ./cgroups -run Kill -v
//	go run ./hack/vm -- ./cgroups.test -test.v
//	go run ./hack/vm -file bin:/src/bin -- sh -c 'mount; ls /src/bin'
//
// Its flags:
//
//	-test PKG         build the tests of PKG without cgo and run them, in
//	                  /src/PKG with what the package has besides Go; may be repeated.
//	                  Words after PKG are the test binary's: './net -test.short'
//	-run RE           run only the tests that match
//	-bench RE         run the benchmarks that match
//	-v                have the tests name themselves
//	-file HOST:GUEST  put a file or directory into the machine; may be repeated.
//	                  The project's root is /src there, so what is ../shared to
//	                  the project is /shared
//	-tool NAME        put a program of this machine into the machine's /usr/bin, or
//	                  where it is here if given as a path, and the libraries that
//	                  it is linked with; may be repeated
//	-env NAME=VALUE   set a variable for the tests or the command; may be repeated
//	-module NAME      load a kernel module besides the usual ones; may be repeated
//	-systemd          have systemd run the machine, a Debian's; it is made once, with
//	                  mmdebstrap, and kept beside the kernel
//	-selinux FILE     have the kernel run SELinux, enforcing, with the policy that
//	                  checkpolicy makes of FILE; not with -systemd
//	-memory MB        the machine's memory; the default is 2048
//	-cpus N           its processors; the default is 2
//	-accel NAME       qemu's accelerator; the default, tcg, works everywhere, and
//	                  kvm is faster where it works
//	-timeout D        end the machine after so long; the default is 10m
//	-console          show the kernel's messages, too
//
// After the flags comes a command to run instead of, or after, the tests. If its
// first word is a file of the host, that is put into the machine.
//
// The exit status is that of the first test or command that failed. Output
// streams as it comes. Nothing is left behind but the kernel package, unpacked
// below the user's cache directory (siflet/kernel). It is fetched there once
// with apt-get download, and never installed.
//
// Inside, unless -systemd says otherwise, there is busybox in /bin, cgroup2 on /sys/fs/cgroup (with the options
// that systemd gives it), proc, sysfs,
// devtmpfs, devpts, a tmpfs on /tmp and /run, the loopback interface, and
// nothing else: no disk, no network, no service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	tests, files, tools, env, modules []string
	run, bench, accel, selinux        string
	verbose, console, systemd         bool
	memory, cpus                      int
	timeout                           time.Duration
	command                           []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status, err := start(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "vm:", err)
	}
	os.Exit(status)
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	list := func(to *[]string) func(string) error {
		return func(s string) error {
			*to = append(*to, s)
			return nil
		}
	}
	fs := flag.NewFlagSet("vm", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Func("test", "build and run the tests of `PKG`", list(&o.tests))
	fs.Func("file", "put `HOST:GUEST` into the machine", list(&o.files))
	fs.Func("tool", "put the program `NAME` and its libraries into the machine", list(&o.tools))
	fs.Func("env", "set `NAME=VALUE`", list(&o.env))
	fs.Func("module", "load the kernel module `NAME`", list(&o.modules))
	fs.StringVar(&o.run, "run", "", "run only the tests that match `RE`")
	fs.StringVar(&o.bench, "bench", "", "run the benchmarks that match `RE`")
	fs.BoolVar(&o.verbose, "v", false, "have the tests name themselves")
	fs.BoolVar(&o.console, "console", false, "show the kernel's messages")
	fs.BoolVar(&o.systemd, "systemd", false, "have the systemd of a Debian run the machine")
	fs.StringVar(&o.selinux, "selinux", "", "have the kernel run SELinux with the policy made of `FILE`")
	fs.IntVar(&o.memory, "memory", 2048, "the machine's memory in `MB`")
	fs.IntVar(&o.cpus, "cpus", 2, "the machine's processors")
	fs.StringVar(&o.accel, "accel", "tcg", "qemu's accelerator `NAME`")
	fs.DurationVar(&o.timeout, "timeout", 10*time.Minute, "end the machine after so long")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.command = fs.Args()
	if len(o.tests) == 0 && len(o.command) == 0 {
		return o, errors.New("nothing to run: give -test PKG or a command")
	}
	return o, nil
}

// start builds the machine, runs it and returns the exit status.
func start(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	o, err := parse(args, stderr)
	if err != nil {
		return 2, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "siflet-vm-")
	if err != nil {
		return 2, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // A directory of our own in /tmp.
	k, err := findKernel(ctx)
	if err != nil {
		return 2, err
	}
	initrd := filepath.Join(dir, "initrd")
	if err := buildInitrd(ctx, o, k, dir, initrd); err != nil {
		return 2, err
	}
	words := ""
	if o.selinux != "" {
		words = " security=selinux selinux=1 enforcing=1"
	}
	return boot(ctx, machine{
		kernel: k.image, initrd: initrd, accel: o.accel, memory: o.memory, cpus: o.cpus, console: o.console, options: words, dir: dir,
	}, stdout, stderr)
}

// quote makes a word of the shell of any text.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
