package cri

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall" //nolint:depguard // the names of errors; no system call
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testServer() *Server {
	return &Server{log: slog.New(slog.DiscardHandler), node: Node{RecursiveReadOnly: true, Limits: runtime.NodeLimits{Swap: true, Hugetlb: true}, Devices: func(host, container string) ([]specs.LinuxDevice, error) {
		return []specs.LinuxDevice{{Path: container, Type: "c", Major: 10, Minor: 229}}, nil
	}}}
}

// golden compares what a request in testdata becomes with what it became before.
func golden[T any](t *testing.T, name string, got T) {
	t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(text)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestPodBecomesInstance(t *testing.T) {
	for _, name := range []string{"pod-plain", "pod-full"} {
		var c criapi.PodSandboxConfig
		readRequest(t, name, &c)
		spec, err := testServer().instanceSpec(&c, "")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, spec)
	}
}

func TestContainerBecomesContainer(t *testing.T) {
	pod := &runtime.InstanceSpec{LogDir: "/var/log/pods/p", Privileged: true}
	for _, name := range []string{"container-plain", "container-full", "container-privileged"} {
		var c criapi.ContainerConfig
		readRequest(t, name, &c)
		spec, err := testServer().containerSpec(&c, pod)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, spec)
	}
}

func TestContainerBecomesStatus(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	base := runtime.Container{
		ID: "c1", InstanceID: "p1", ImageID: "sha256:00", CreatedAt: at(1), StartedAt: at(2), LogPath: "/l", StopSignal: "SIGRTMIN+3",
		Spec: runtime.ContainerSpec{
			Image: "web:latest", Metadata: runtime.Metadata{Name: "web", Attempt: 2},
			Mounts: []runtime.Mount{{Source: "/a", Target: "/b", Propagation: "slave", NoExec: true}},
		},
	}
	for name, edit := range map[string]func(c *runtime.Container){
		"created":   func(c *runtime.Container) { c.State, c.StartedAt = runtime.ContainerCreated, time.Time{} },
		"running":   func(c *runtime.Container) { c.State = runtime.ContainerRunning },
		"completed": func(c *runtime.Container) { c.State, c.FinishedAt = runtime.ContainerExited, at(3) },
		"oom": func(c *runtime.Container) {
			c.State, c.FinishedAt, c.ExitCode, c.OOMKilled = runtime.ContainerExited, at(3), 137, true
		},
		"not-started": func(c *runtime.Container) {
			c.State, c.StartedAt, c.FinishedAt, c.ExitCode, c.Reason = runtime.ContainerExited, time.Time{}, at(3), 128, "no such command"
		},
		"lost": func(c *runtime.Container) {
			c.State, c.FinishedAt, c.ExitCode, c.Lost, c.Reason = runtime.ContainerExited, at(3), 255, true, "its supervisor ended"
		},
		"unknown": func(c *runtime.Container) { c.State, c.Reason = runtime.ContainerUnknown, "the supervisor is gone" },
	} {
		c := base
		edit(&c)
		golden(t, "status-"+name, testServer().containerStatus(&c))
	}
}

func readRequest(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestErrorsGetTheirCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{runtime.ErrInvalid, codes.InvalidArgument},
		{runtime.ErrNotFound, codes.NotFound},
		{runtime.ErrExists, codes.AlreadyExists},
		{runtime.ErrNotReady, codes.FailedPrecondition},
		{runtime.ErrUnavailable, codes.Unavailable},
		{runtime.ErrFull, codes.ResourceExhausted},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, codes.ResourceExhausted},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.EDQUOT}, codes.ResourceExhausted},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EMFILE}, codes.ResourceExhausted},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENFILE}, codes.ResourceExhausted},
		{&fs.PathError{Op: "fork", Path: "/x", Err: syscall.ENOMEM}, codes.ResourceExhausted},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENAMETOOLONG}, codes.InvalidArgument},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, codes.FailedPrecondition},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.ENOTDIR}, codes.FailedPrecondition},
		{errors.Join(runtime.ErrInvalid, syscall.ENOSPC), codes.InvalidArgument}, // as of a cpuset
		{image.ErrUnsupported, codes.Unimplemented},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{errors.New("else"), codes.Unknown},
		{invalid("a.b", "is %d", 7), codes.InvalidArgument},
	} {
		got := rpcError(fmt.Errorf("do: %w", c.err))
		if status.Code(got) != c.want {
			t.Errorf("rpcError(%v) = %s, want %s", c.err, status.Code(got), c.want)
		}
	}
}

func TestEverySignalIsKnownToTheEngine(t *testing.T) {
	for number := range criapi.Signal_name {
		s := criapi.Signal(number)
		name, err := stopSignal(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if s == criapi.Signal_SIGNAL_RUNTIME_DEFAULT {
			continue
		}
		if _, err := runtime.ParseSignal(name); err != nil {
			t.Errorf("%s: %v", s, err)
		}
		if got := signalOf(name); got != s {
			t.Errorf("signalOf(%q) = %s, want %s", name, got, s)
		}
	}
}

func TestPodNamesAreUniqueAndPlain(t *testing.T) {
	seen := map[string]runtime.Metadata{}
	for _, m := range []runtime.Metadata{
		{Name: "web", Namespace: "default", UID: "1"},
		{Name: "web", Namespace: "default", UID: "1", Attempt: 1},
		{Name: "a b"},
		{Name: "a-b"},
		{Name: "a:b"},
		{Name: strings.Repeat("x", 250)},
		{Name: strings.Repeat("x", 251)},
	} {
		name := podName(m)
		if other, ok := seen[name]; ok {
			t.Errorf("%v and %v are both %q", m, other, name)
		}
		seen[name] = m
		if len(name) > maxName || strings.ContainsAny(name, " :/") {
			t.Errorf("podName(%v) = %q", m, name)
		}
	}
}

func TestRatesComeFromTheTimeBetweenSamples(t *testing.T) {
	var r rates
	now := time.Unix(100, 0)
	if _, ok := r.cores("a", now, 1000); ok {
		t.Error("a rate after one sample")
	}
	if got, ok := r.cores("a", now.Add(2*time.Second), 1000+1e9); !ok || got != 5e8 {
		t.Errorf("cores = %d, %t; want half a core", got, ok)
	}
	if got, ok := r.cores("a", now.Add(2*time.Second+time.Millisecond), 1000+2e9); !ok || got != 5e8 {
		t.Errorf("a millisecond later: %d, %t; want the rate before", got, ok)
	}
	if _, ok := r.cores("a", now.Add(4*time.Second), 7); ok {
		t.Error("a rate although the counter went back")
	}
	r.keep(func(string) bool { return false })
	if len(r.last) != 0 {
		t.Errorf("%d samples kept, want none", len(r.last))
	}
}

func TestIdentityIsReadFromAStatusFile(t *testing.T) {
	got := parseIdentity("Name:\tsh\nUid:\t1000\t0\t0\t0\nGid:\t1001\t0\t0\t0\nGroups:\t7 8 \n")
	if diff := cmp.Diff([]int64{1001, 7, 8}, got.GetLinux().GetSupplementalGroups()); got.GetLinux().GetUid() != 1000 || diff != "" {
		t.Errorf("identity = %v, want 1000, 1001 and groups 7 and 8", protojson.Format(got))
	}
	if got := parseIdentity("garbage"); got != nil {
		t.Errorf("identity of garbage = %v, want none", got)
	}
}
