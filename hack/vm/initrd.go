package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// usualModules is what containers need of a kernel. Names that a kernel does
// not know as modules are built in or not there.
func usualModules() []string {
	return []string{
		"loop", "squashfs", "overlay", "fuse", "veth", "bridge", "br_netfilter", "dummy", "tun",
		"nf_tables", "nft_ct", "nft_nat", "nft_masq", "nft_chain_nat", "nft_redir", "nft_reject_inet",
		"nft_fib_inet", "nft_compat", "nft_limit", "nft_numgen", "nft_hash", "xt_comment", "xt_addrtype",
		"xt_conntrack", "xt_mark", "xt_MASQUERADE", "xt_tcpudp", "xt_multiport", "ip_tables", "iptable_nat",
		"iptable_filter", "ip6_tables", "sch_tbf", "sch_ingress", "ifb", "act_mirred", "cls_u32",
		"virtio_rng", "virtio_pci", "zstd_decompress", "lz4_decompress",
	}
}

// initScript is the first process. The root is bound over itself first: the
// initramfs proper can't be the old root of a pivot_root.
const initScript = `#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
/bin/busybox --install -s /bin
mount --bind / /.root
cd /.root && mount --move . / && exec chroot . /bin/busybox sh /stage2
echo "vm: no root" >/dev/console
poweroff -f
`

// stageTwo sets the machine up and runs the job. Output has a serial line of
// its own, so that no kernel message gets into it; the status goes to the
// console, where the job can't forge it by printing.
const stageTwo = `
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs -o mode=755 devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sf /proc/self/fd /dev/fd
mount -t tmpfs -o mode=1777,size=90% tmp /tmp
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
for m in $(cat /modules/order); do insmod /modules/$m || echo "vm: module $m" >/dev/console; done
ip link set lo up
hostname vm
` + loadPolicy + theJob

// theJob runs the job and ends the machine.
const theJob = `
stty -F /dev/ttyS1 raw -echo
cd /src
setsid sh /job </dev/null >/dev/ttyS1 2>&1
status=$?
# The line must have left the machine before that does.
stty -F /dev/ttyS1 cooked
echo 1 >/proc/sys/kernel/printk
printf '\nsiflet-vm-status %d\n' $status >/dev/ttyS0
sync
/bin/busybox poweroff -f
`

// buildInitrd writes the machine's whole file system.
func buildInitrd(ctx context.Context, o options, k kernel, dir, to string) (err error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // Flushed and checked below.
	w := bufio.NewWriterSize(f, 1<<20)
	a := newArchive(w)
	if o.systemd {
		if err := addDebian(ctx, a); err != nil {
			return err
		}
	}
	if err := addSystem(a, o, k); err != nil {
		return err
	}
	if o.selinux != "" {
		if err := addSELinux(ctx, a, o.selinux, dir); err != nil {
			return fmt.Errorf("-selinux %s: %w", o.selinux, err)
		}
	}
	var job strings.Builder
	job.WriteString("status=0\n")
	for _, name := range o.env {
		key, value, _ := strings.Cut(name, "=")
		job.WriteString("export " + key + "=" + quote(value) + "\n")
	}
	for _, name := range o.tools {
		if err := addProgram(a, name); err != nil {
			return fmt.Errorf("-tool %s: %w", name, err)
		}
	}
	for i, words := range o.tests {
		line, err := addTest(ctx, a, o, words, filepath.Join(dir, strconv.Itoa(i)+".test"))
		if err != nil {
			return err
		}
		job.WriteString(line)
	}
	line, err := addCommand(a, o.command)
	if err != nil {
		return err
	}
	a.file("/job", 0o644, job.String()+line+"exit $status\n")
	for _, pair := range o.files {
		host, guest, ok := strings.Cut(pair, ":")
		if !ok {
			return fmt.Errorf("-file %s: want HOST:GUEST", pair)
		}
		if err := a.copy(guest, host); err != nil {
			return fmt.Errorf("-file %s: %w", pair, err)
		}
	}
	if err := a.close(); err != nil {
		return err
	}
	return w.Flush()
}

func addSystem(a *archive, o options, k kernel) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w; install the package busybox-static", err)
	}
	if err := a.copy("/bin/busybox", busybox); err != nil {
		return err
	}
	for _, name := range []string{
		"/.root", "/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/sbin", "/usr/bin", "/usr/sbin", "/src",
		"/var/lib", "/var/log", "/etc", "/opt", "/mnt",
	} {
		a.dir(name)
	}
	a.device("/dev/console", 5, 1)
	a.device("/dev/null", 1, 3)
	a.file("/etc/hosts", 0o644, "127.0.0.1 localhost vm\n::1 localhost\n")
	a.file("/etc/resolv.conf", 0o644, "")
	a.file("/init", 0o755, initScript)
	if o.systemd {
		a.file("/stage2", 0o644, stageTwoSystemd)
	} else {
		a.file("/stage2", 0o644, stageTwo)
		addEtc(a)
	}
	files, err := k.withDependencies(append(usualModules(), o.modules...))
	if err != nil {
		return err
	}
	var order strings.Builder
	for _, file := range files {
		order.WriteString(filepath.Base(file) + "\n")
		if err := a.copy("/modules/"+filepath.Base(file), file); err != nil {
			return err
		}
	}
	a.file("/modules/order", 0o644, order.String())
	return a.err
}

// addEtc adds what a Debian would have.
func addEtc(a *archive) {
	a.link("/var/run", "/run")
	a.link("/var/tmp", "/tmp")
	a.file("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	a.file("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n")
	a.file("/etc/os-release", 0o644, "ID=siflet-vm\n")
}

// addTest builds the tests of the package that words begin with and returns the
// line that runs them.
func addTest(ctx context.Context, a *archive, o options, words, binary string) (string, error) {
	pkg, flags, _ := strings.Cut(strings.TrimSpace(words), " ")
	list := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}\n{{.Module.Dir}}", pkg)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w", pkg, err)
	}
	dir, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	rel, err := filepath.Rel(root, dir)
	if err != nil || strings.Contains(dir, "\n") {
		return "", fmt.Errorf("-test %s: want one package", pkg)
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", pkg, err, out)
	}
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("-test %s: it has no tests", pkg)
	}
	guest := path.Join("/src", filepath.ToSlash(rel))
	name := path.Join("/tests", strings.ReplaceAll(rel, "/", "-")+".test")
	if err := a.copy(name, binary); err != nil {
		return "", err
	}
	a.dir(guest)
	if err := addData(a, guest, dir); err != nil {
		return "", err
	}
	run := "cd " + quote(guest) + " && " + quote(name)
	if o.verbose {
		run += " -test.v"
	}
	if o.run != "" {
		run += " -test.run " + quote(o.run)
	}
	if o.bench != "" {
		run += " -test.bench " + quote(o.bench)
	}
	argv := []string{run}
	for flag := range strings.FieldsSeq(flags) {
		argv = append(argv, quote(flag))
	}
	run = strings.Join(argv, " ")
	return "echo " + quote("# "+filepath.ToSlash(rel)) + "\n{ " + run + "; } || { s=$?; [ $status != 0 ] || status=$s; }\n", nil
}

// addData adds what tests read: testdata and the files of their package that
// are no Go.
func addData(a *archive, guest, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data := e.Type().IsRegular() && filepath.Ext(e.Name()) != ".go" || e.IsDir() && e.Name() == "testdata"
		if !data {
			continue
		}
		if err := a.copy(path.Join(guest, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// addCommand returns the line that runs the command.
func addCommand(a *archive, command []string) (string, error) {
	if len(command) == 0 {
		return "", nil
	}
	words := append([]string(nil), command...)
	if st, err := os.Stat(words[0]); err == nil && st.Mode().IsRegular() && !filepath.IsAbs(words[0]) {
		name := "/tests/" + filepath.Base(words[0])
		if err := a.copy(name, words[0]); err != nil {
			return "", err
		}
		words[0] = name
	}
	for i, word := range words {
		words[i] = quote(word)
	}
	return "cd /src\n" + strings.Join(words, " ") + " || { s=$?; [ $status != 0 ] || status=$s; }\n", nil
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}
