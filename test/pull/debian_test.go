package pull_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// debianConfig is what the image says of its process.
func debianConfig() v1.Config {
	return v1.Config{
		Entrypoint: []string{"/bin/sh", "-c"},
		Cmd:        []string{`echo "$0|$FROM|$PATH"; pwd; id -un; id -gn; cat /data/kept; echo; echo x > /data/x && ls /data; touch /x 2>/dev/null || echo read-only`, "cmd"},
		Env:        []string{"FROM=image", "PATH=/usr/bin:/bin"}, WorkingDir: "/made/here", User: "backup", StopSignal: "SIGUSR1",
		Volumes: map[string]struct{}{"/data": {}},
	}
}

// credentials are what a kubelet finds in a secret.
func credentials(server *registrytest.DebianServer) *criapi.AuthConfig {
	return &criapi.AuthConfig{Username: server.Auth.Username, Password: server.Auth.Password}
}

// TestDebianInAPodIsTheImage pulls an image of Debian from Debian's registry, with TLS
// and a password, and compares what a container sees with what the kernel's overlay
// makes of the layers.
func TestDebianInAPodIsTheImage(t *testing.T) {
	archives := debianLayers(t)
	server := registrytest.Debian(t)
	merged := reference(t, archives)
	want := walk(t, merged, places()...)
	if want["srv/odd/access"]["system.posix_acl_access"] == "" {
		t.Error("the image has no ACL to be seen")
	}
	auth := credentials(server)
	for _, how := range []registrytest.Compression{registrytest.Gzip, registrytest.Zstd} {
		t.Run(string(how), func(t *testing.T) {
			server.Push(t, "debian:"+string(how), imageOf(t, how, debianConfig(), archives))
			a := start(t, server.Certs(t))
			ref := server.Host + "/debian:" + string(how)
			testRefused(t, a, ref)
			id, err := a.pullAs(ref, auth)
			if err != nil {
				t.Fatal(err)
			}
			a.checkStore()
			p := a.pod("p")
			user := container("tree", ref, "sleep", "100000")
			user.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUser: &criapi.Int64Value{}}
			running := p.launch(user)
			root := a.root(running)
			checkMounts(t, root)
			compare(t, "the container's root", walk(t, root, places()...), want, mayDiffer)
			testSeenFromInside(t, a, running, want)
			testDebianWorks(t, a, running)
			testConfig(t, p, id)
		})
	}
}

// mayDiffer are the places where a container's root is not the image's on purpose.
func mayDiffer(path, what string) bool {
	switch what {
	case "":
		// The working directory is made where the image has none.
		return path == "made" || path == "made/here"
	case "time":
		// The directories that it, and mount points, were made in.
		return path == "." || path == "etc"
	default:
		return false
	}
}

func testRefused(t *testing.T, a *agent, ref string) {
	t.Helper()
	for name, auth := range map[string]*criapi.AuthConfig{
		"no password": nil, "a wrong password": {Username: "ann", Password: "battery staple"},
	} {
		_, err := a.pullAs(ref, auth)
		// What a person reads in "kubectl describe pod" has to say which image and why.
		text := status.Convert(err).Message()
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(text, ref) || !strings.Contains(strings.ToLower(text), "auth") ||
			strings.Contains(text, "staple") {
			t.Errorf("with %s: %v, want PermissionDenied that names %s and not the password", name, err, ref)
		}
	}
	if got := a.image(ref); got != nil {
		t.Errorf("what was refused is there: %v", got)
	}
	a.checkStore()
}

// testSeenFromInside compares what the image's own programs say.
func testSeenFromInside(t *testing.T, a *agent, id string, want tree) {
	t.Helper()
	theirs := tree{}
	for line := range strings.SplitSeq(a.exec(id, "find", "/", "-xdev", "-printf", `%P\t%m\t%U:%G\t%l\0`), "\x00") {
		fields := strings.Split(line, "\t")
		if len(fields) != 4 {
			if line != "" {
				t.Errorf("find wrote %q", line)
			}
			continue
		}
		if fields[0] == "" {
			fields[0] = "."
		}
		theirs[fields[0]] = map[string]string{"permissions": fields[1], "owner": fields[2], "target": fields[3]}
	}
	for sum := range strings.SplitSeq(a.exec(id, "find", "/", "-xdev", "-type", "f", "-exec", "sha256sum", "-z", "{}", "+"), "\x00") {
		content, name, _ := strings.Cut(sum, "  /")
		if theirs[name] != nil {
			theirs[name]["content"] = content
		}
	}
	for _, name := range places() {
		delete(theirs, name)
		maps.DeleteFunc(theirs, func(path string, _ map[string]string) bool { return strings.HasPrefix(path, name+"/") })
	}
	ours := tree{}
	for name, seen := range want {
		var mode uint32
		_, _ = fmt.Sscanf(seen["mode"], "%o", &mode)
		ours[name] = map[string]string{"permissions": fmt.Sprintf("%o", mode&0o7777), "owner": seen["owner"], "target": seen["target"]}
		if content, ok := seen["content"]; ok {
			ours[name]["content"] = content
		}
	}
	compare(t, "find and sha256sum in the container", theirs, ours, mayDiffer)
	if got := a.exec(id, "/usr/sbin/getcap", "/usr/local/bin/raw"); strings.TrimSpace(got) != "/usr/local/bin/raw cap_net_raw=ep" {
		t.Errorf("getcap says %q, want cap_net_raw=ep", got)
	}
	if got := a.exec(id, "getfattr", "--only-values", "-n", "user.note", "/srv/linked"); got != "a\x00b" {
		t.Errorf("getfattr says %q, want a, a NUL, b", got)
	}
}

// testDebianWorks runs programs that read much of the system, and ones that write.
func testDebianWorks(t *testing.T, a *agent, id string) {
	t.Helper()
	if got := a.exec(id, "dpkg", "-l"); !strings.Contains(got, "ii  dpkg ") || !strings.Contains(got, "ii  apt ") {
		t.Errorf("dpkg -l says %q", got)
	}
	if got := a.exec(id, "apt-get", "--version"); !strings.HasPrefix(got, "apt 2.6") {
		t.Errorf("apt-get --version says %q", got)
	}
	a.exec(id, "sh", "-c", "cd /tmp && cp /bin/true . && ./true && rm -r /usr/share/locale/xx && mkdir /usr/share/locale/xx && mv /srv/many /srv/moved && ls /srv/moved/linked-2")
	// Users other than root gain what the file gives them.
	if got := a.exec(id, "su", "-s", "/bin/sh", "nobody", "-c", "grep CapPrm /proc/self/status; id -u"); !strings.Contains(got, "65534") {
		t.Errorf("su says %q, want nobody's number", got)
	}
}

func testConfig(t *testing.T, p *pod, image string) {
	t.Helper()
	for name, c := range map[string]struct {
		change func(*criapi.ContainerConfig)
		want   string
	}{
		"as-the-image-says": {
			func(c *criapi.ContainerConfig) {
				c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{ReadonlyRootfs: true}
			}, "cmd|image|/usr/bin:/bin\n/made/here\nbackup\nbackup\nkept\nkept\nx\nread-only\n",
		},
		"args":             {func(c *criapi.ContainerConfig) { c.Args = []string{`echo "args $0"; id -u`, "x"} }, "args x\n34\n"},
		"command":          {func(c *criapi.ContainerConfig) { c.Command = []string{"pwd"} }, "/made/here\n"},
		"command-and-args": {func(c *criapi.ContainerConfig) { c.Command, c.Args = []string{"echo"}, []string{"two"} }, "two\n"},
		"variables": {
			func(c *criapi.ContainerConfig) {
				c.Command = []string{"sh", "-c", "echo $FROM $PATH"}
				c.Envs = []*criapi.KeyValue{{Key: "FROM", Value: []byte("pod")}}
			}, "pod /usr/bin:/bin\n",
		},
		"working-directory": {func(c *criapi.ContainerConfig) { c.Command, c.WorkingDir = []string{"pwd"}, "/srv/many" }, "/srv/many\n"},
		"user": {
			func(c *criapi.ContainerConfig) {
				c.Command = []string{"sh", "-c", "id -un; id -gn"}
				c.Linux.SecurityContext = &criapi.LinuxContainerSecurityContext{RunAsUsername: "games"}
			}, "games\ngames\n",
		},
	} {
		config := container(name, image)
		c.change(config)
		if got := p.said(p.launch(config)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	stopped := p.launch(container("stop", image, "sh", "-c", "trap 'echo told; exit 0' USR1; echo ready; while :; do sleep 0.1; done"))
	eventually(t, "the trap to be set", func() bool {
		text, _ := os.ReadFile(p.status(stopped).LogPath) // not there at first
		return strings.Contains(string(text), "ready")
	})
	if _, err := p.StopContainer(within(t), &criapi.StopContainerRequest{ContainerId: stopped, Timeout: 60}); err != nil {
		t.Error(err)
	}
	if got := p.said(stopped); !slices.Contains(strings.Fields(got), "told") {
		t.Errorf("a container that was stopped wrote %q, want that it was told by SIGUSR1", got)
	}
}
