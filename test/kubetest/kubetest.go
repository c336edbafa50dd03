// Package kubetest is what tests of the CRI and those with real kubelets share.
package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// kernel is what a kubelet wants of the kernel, and would else set.
const kernel = "vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 " +
	"kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000"

// among is how a kubelet starts: it shares all mounts with the agent but /proc,
// in which it finds what it wants, and so leaves the machine as it is, and
// /var/lib/kubelet, if the test has mounted that, where each has its own sockets.
const among = `dir=$1; shift
mount --make-rprivate /proc || exit
if mountpoint -q /var/lib/kubelet; then
	mount --make-rprivate /var/lib/kubelet && mount -t tmpfs tmpfs /var/lib/kubelet || exit
fi
for s in ` + kernel + `; do
	f=$dir/$(echo "${s%%=*}" | tr / .)
	echo "${s#*=}" >"$f" && mount --bind "$f" "/proc/sys/${s%%=*}" || exit
done
exec "$@"`

// Kubelet is the command that starts a kubelet, with files of its own in dir.
func Kubelet(dir, program string, args ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "unchanged", "sh", "-c", among, "sh", dir, program}, args...)
}

// Stop ends a process and waits for it.
func Stop(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd == nil || cmd.Process == nil || cmd.ProcessState != nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil {
		return err
	}
	_ = cmd.Wait() // a kubelet that is told to end says so with a status
	return nil
}

// MakeCgroup makes this group in all hierarchies that there are, such that it can
// have processes on cgroup v1 too.
func MakeCgroup(name string) error {
	return forEach(name, func(path string) error {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			text, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(path, name), text, 0o644)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveCgroup removes this group with those in it from all hierarchies, once the
// processes in them have ended.
func RemoveCgroup(name string) error {
	const patience = 5 * time.Minute // for an emulated machine
	for deadline := time.Now().Add(patience); ; {
		err := forEach(name, remove)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

func remove(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, remove(filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(path))
}

func forEach(name string, do func(path string) error) error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		roots = []string{"/sys/fs/cgroup"}
	}
	for _, root := range roots {
		if i, err := os.Lstat(root); err == nil && i.IsDir() {
			err = do(filepath.Join(root, name))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckEmpty looks for what pods of an agent with these directories could leave
// behind.
func CheckEmpty(dirs ...string) (err error) {
	for _, dir := range dirs {
		entries, failed := os.ReadDir(filepath.Join(dir, "instances"))
		if failed != nil && !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
		for _, e := range entries {
			err = errors.Join(err, fmt.Errorf("left behind: %s/instances/%s", dir, e.Name()))
		}
	}
	return err
}

// Wait waits until there is no error, and returns the last one if that takes too long.
func Wait(patience time.Duration, check func() error) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return err
		}
	}
}

// RemovePods removes all pods that an agent has.
func RemovePods(patience time.Duration, agent criapi.RuntimeServiceClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pods, err := agent.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		_, failed := agent.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: p.Id})
		err = errors.Join(err, failed)
	}
	return err
}
