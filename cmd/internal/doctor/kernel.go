package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// What siflet is tested with: the kernel of Debian 12.
const oldestMajor, oldestMinor = 6, 1

func (m *Machine) kernel() {
	const check = "kernel"
	major, minor, err := linux.KernelVersion()
	switch {
	case err != nil:
		m.problem(check, "", "%v", err)
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		m.warn(check, "install a newer kernel", "Linux %d.%d: siflet is tested with %d.%d and newer ones", major, minor, oldestMajor, oldestMinor)
	case !linux.CanSetMountAttributes():
		m.problem(check, "if this is a container or a sandbox, let it make all system calls", "mount_setattr(2) is missing")
	default:
		m.ok(check, "Linux %d.%d", major, minor)
	}
	m.judge(Problem, "seccomp", "run a kernel with CONFIG_SECCOMP_FILTER", "filters of system calls can be installed", linux.ProbeSeccomp())
	m.modules()
}

// modules are security modules, which are optional.
func (m *Machine) modules() {
	if text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled"); err == nil && strings.HasPrefix(string(text), "Y") {
		_, err := exec.LookPath("apparmor_parser")
		if err != nil {
			err = errors.New("the kernel runs AppArmor, but there is no apparmor_parser: containers that want the default profile do not start")
		}
		m.judge(ours(), "AppArmor", "install the package apparmor", "it runs, and its profiles can be loaded", err)
	}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		if !m.config.EnableSELinux {
			err = errors.New("the kernel runs SELinux, but the agent labels nothing")
		}
		m.judge(Warning, "SELinux", "set enable_selinux = true in the agent's configuration", "pods are labelled", err)
	}
}

// squashfsNext is what to do where images can't be mounted.
func squashfsNext(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "load the module: modprobe loop; in a container, give it /dev/loop-control and the loop devices"
	case errors.Is(err, os.ErrPermission):
		return "give who runs this the right to open loop devices and to mount"
	case strings.Contains(fmt.Sprint(err), "squashfs"):
		return "load the module: modprobe squashfs; if it lacks a compression, run a kernel with CONFIG_SQUASHFS_ZSTD and the like"
	}
	return ""
}
