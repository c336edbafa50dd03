package cri_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ownFiles are those that a container finds with its own label.
func ownFiles() []string {
	return []string{
		"/", "/bin/busybox", "/dev", "/dev/null", "/dev/pts", "/dev/pts/ptmx", "/dev/shm", "/dev/mqueue", "/etc/hosts", "/etc/hostname",
		"/etc/resolv.conf", "/made", "/dev/shm/made",
	}
}

func TestFilesOfContainersHaveTheirLabel(t *testing.T) {
	a := labelling(t)
	image := busybox(t)
	for name, mapped := range map[string]bool{"plain": false, "mapped": true} {
		t.Run(name, func(t *testing.T) {
			if mapped && !a.canMap() {
				t.Skip("this kernel has no user namespaces for pods")
			}
			c := podConfig(a, name)
			options := &criapi.NamespaceOption{}
			if mapped {
				options.UsernsOptions = mapping()
			}
			c.Linux.SecurityContext = &criapi.LinuxSandboxSecurityContext{
				NamespaceOptions: options, SelinuxOptions: &criapi.SELinuxOption{Level: "s0:c6,c7"},
			}
			pod := a.pod(c)
			for _, readonly := range []bool{false, true} {
				config := containerConfig("c", image, "sleep", "1000")
				config.Metadata.Attempt = map[bool]uint32{true: 1}[readonly]
				config.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{
					NamespaceOptions: options, ReadonlyRootfs: readonly, MaskedPaths: []string{"/proc/sys"},
				}
				config.Mounts = []*criapi.Mount{volumeMount(image, "")}
				id := a.launch(pod, config, c)
				a.sh(id, "touch /dev/shm/made; touch /made 2>/dev/null; ls /proc/sys; cat /etc/hostname >/dev/null", "")
				if got := fileLabelOf(t, a.seen(id, "/vol/bin/busybox")); got != imageLabel {
					t.Errorf("label of a file of an image volume = %q, want %q", got, imageLabel)
				}
				for _, path := range append(ownFiles(), "/proc/sys") {
					if readonly && path == "/made" {
						continue
					}
					if got := fileLabelOf(t, a.seen(id, path)); got != fileLabel+"s0:c6,c7" {
						t.Errorf("read-only %v: label of %s = %q", readonly, path, got)
					}
				}
			}
		})
	}
}

func TestVolumesAreRelabelled(t *testing.T) {
	a := labelling(t)
	image := busybox(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "text\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	pod, p := a.privilegedPod("p")
	mounting := func(name string, relabel bool, source string) *criapi.ContainerConfig {
		c := containerConfig(name, image, "sleep", "1000")
		c.Mounts = []*criapi.Mount{{ContainerPath: "/data", HostPath: source, SelinuxRelabel: relabel}}
		return c
	}
	_, level := a.level(pod, image, p)
	const use = "cat /data/file; echo more >>/data/file; touch /data/new && rm /data/new"
	const denied = "cat: can't open '/data/file': Permission denied\nsh: can't create /data/file: Permission denied\ntouch: /data/new: Permission denied\n"
	a.sh(a.launch(pod, mounting("before", false, dir), p), use, denied)
	before := fileLabelOf(t, "/etc/passwd")
	relabelled := a.launch(pod, mounting("relabelled", true, dir), p)
	a.sh(relabelled, use, "text\n")
	for _, name := range []string{"", "file"} {
		if got := fileLabelOf(t, filepath.Join(dir, name)); got != fileLabel+level {
			t.Errorf("label of %q = %q, want the level %s", name, got, level)
		}
	}
	if got := fileLabelOf(t, "/etc/passwd"); got != before {
		t.Errorf("a link in the volume led to /etc/passwd: %s became %s", before, got)
	}
	a.sh(a.launch(pod, mounting("same-pod", false, dir), p), "cat /data/file", "text\nmore\n")
	other, op := a.hostPod("other")
	a.sh(a.launch(other, mounting("other-pod", false, dir), op), use, denied)

	// What a privileged container is the first to mount is for the others, too.
	shared := t.TempDir()
	writeFile(t, filepath.Join(shared, "file"), "shared\n")
	c := mounting("privileged", true, shared)
	c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{Privileged: true}
	a.launch(pod, c, p)
	a.sh(a.launch(pod, mounting("after", false, shared), p), "cat /data/file", "shared\n")
}

func TestRelabelKnowsItsLimits(t *testing.T) {
	a := labelling(t)
	image := busybox(t)
	pod, p := a.hostPod("p")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/usr/..", link); err != nil {
		t.Fatal(err)
	}
	for source, path := range map[string]string{"/": "/", "/etc": "/etc", "/usr/": "/usr", link: "/"} {
		before := fileLabelOf(t, path)
		c := containerConfig("refused", image, "true")
		c.Mounts = []*criapi.Mount{{ContainerPath: "/data", HostPath: source, SelinuxRelabel: true}}
		wantRefusal(t, source, a.refusal(pod, c, p), "InvalidArgument", path+" is the node's own and can't get the label of a container")
		if got := fileLabelOf(t, path); got != before {
			t.Errorf("label of %s became %s", path, got)
		}
	}
	// A file system that has one label for everything takes no other.
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, `context="`+fileLabel+`s0"`); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	c := containerConfig("unlabelled", image, "sleep", "1000")
	c.Mounts = []*criapi.Mount{{ContainerPath: "/data", HostPath: dir, SelinuxRelabel: true}}
	a.sh(a.launch(pod, c, p), "echo x >/data/x; cat /data/x", "x\n")
}

func (a *agent) canMap() bool {
	a.t.Helper()
	s, err := a.Status(within(a.t), &criapi.StatusRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	return s.Features.UserNamespacesHostNetwork
}
