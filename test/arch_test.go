// Package test holds the tests that cross packages.
package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/siflet/siflet/"

// mayImport lists the siflet packages each package may import directly.
// It is the machine-checked form of the table in ARCHITECTURE.md.
var mayImport = map[string][]string{
	"cmd/siflet": {
		"cmd/internal/accounts", "cmd/internal/config", "cmd/internal/doctor", "cmd/internal/manual", "cmd/internal/notify", "cmd/internal/setup", "cmd/internal/site", "cmd/internal/unprivileged", "runtime", "runtime/action", "runtime/bootstrap", "runtime/build", "runtime/cdi", "runtime/contract", "runtime/convert", "runtime/definition", "runtime/image", "runtime/inspect", "runtime/program",
		"runtime/publish", "runtime/registry", "runtime/sif", "runtime/source", "runtime/trust",
		"runtime/supervisor", "runtime/linux", "runtime/record", "runtime/unpack", "runtime/unsquash", "network", "cgroups", "cgroups/systemd",
	},
	"cmd/siflet-agent": {
		"cmd/internal/config", "cmd/internal/health", "cmd/internal/manual", "cmd/internal/notify", "cmd/internal/setup", "cmd/internal/trace", "cri", "cri/nri", "runtime", "runtime/image", "runtime/linux", "runtime/registry",
		"runtime/trust", "network", "cgroups", "cgroups/systemd",
	},
	"cmd/internal/config": {"cmd/internal/setup", "runtime/plan", "runtime/selinux"},
	"cmd/internal/doctor": {
		"cmd/internal/config", "cmd/internal/health", "cmd/internal/setup", "cmd/internal/site", "cmd/internal/unprivileged", "cgroups", "cgroups/systemd", "network",
		"runtime/linux", "runtime/squashfs", "runtime/supervisor",
	},
	"cmd/internal/accounts":     {},
	"cmd/internal/health":       {},
	"cmd/internal/manual":       {},
	"cmd/internal/trace":        {},
	"cmd/internal/notify":       {},
	"cmd/internal/setup":        {"runtime/image", "runtime/linux", "runtime/registry", "runtime/trust"},
	"cmd/internal/site":         {"runtime/linux"},
	"cmd/internal/unprivileged": {"cmd/internal/accounts", "cmd/internal/setup", "network", "runtime", "runtime/linux", "runtime/program", "runtime/supervisor"},
	"cmd/siflet-instance":       {"runtime/supervisor", "runtime/launch", "runtime/linux"},
	"cmd/siflet-action":         {"runtime/action", "runtime/linux", "runtime/program"},
	"cmd/siflet-fuse":           {"runtime/fuse", "runtime/linux", "runtime/unsquash"},

	"cri": {
		"cri/streaming", "runtime", "runtime/cdi", "runtime/image", "runtime/linux", "runtime/program", "runtime/registry", "runtime/supervisor", "runtime/trust",
		"network",
	},

	"cri/streaming": {},
	"cri/nri":       {"runtime", "runtime/linux"},

	"runtime": {
		"runtime/action", "runtime/cdi", "runtime/image", "runtime/linux", "runtime/plan", "runtime/program",
		"runtime/record", "runtime/squashfs", "runtime/supervisor", "runtime/trust", "cgroups", "network",
		"runtime/checkpoint", "runtime/layer", "runtime/selinux",
	},
	"runtime/checkpoint": {"runtime/linux"},
	"runtime/image": {
		"runtime/layer", "runtime/linux", "runtime/record", "runtime/registry", "runtime/sif",
		"runtime/source", "runtime/squashfs", "runtime/trust",
	},
	"runtime/definition": {},
	"runtime/bootstrap":  {"runtime/definition", "runtime/linux"},
	"runtime/contract":   {"runtime/definition"},
	"runtime/convert":    {"runtime/contract", "runtime/definition", "runtime/layer", "runtime/registry", "runtime/sif", "runtime/source", "runtime/squashfs"},
	"runtime/build":      {"runtime/contract", "runtime/definition", "runtime/linux", "runtime/sif", "runtime/squashfs"},
	"runtime/source":     {"runtime/registry"},
	"runtime/registry":   {},
	"runtime/trust":      {"runtime/sif"},
	"runtime/inflate":    {},
	"runtime/layer":      {"runtime/inflate", "runtime/squashfs"},
	"runtime/squashfs":   {},
	"runtime/unsquash":   {"runtime/inflate"},
	"runtime/unpack":     {"runtime/linux", "runtime/unsquash"},
	"runtime/fuse":       {"runtime/linux", "runtime/unsquash"},
	"runtime/publish":    {"runtime/contract", "runtime/inspect", "runtime/sif", "runtime/unsquash"},
	"runtime/inspect":    {"runtime/contract", "runtime/linux", "runtime/sif", "runtime/unsquash"},
	"runtime/supervisor": {"runtime/linux", "runtime/program", "runtime/record"},
	"runtime/launch":     {"runtime/linux", "runtime/program"},
	"runtime/plan":       {"runtime/program"},
	"runtime/action":     {"runtime/linux", "runtime/program"},
	"runtime/cdi":        {},
	"runtime/program":    {},
	"runtime/record":     {"runtime/linux"},
	"runtime/sif":        {"runtime/linux"},
	"runtime/selinux":    {},
	"runtime/linux":      {},

	"cgroups":         {},
	"cgroups/systemd": {"cgroups"},
	"network":         {},
}

func TestImportsFollowArchitecture(t *testing.T) {
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...") {
		pkg, imports, _ := strings.Cut(line, " ")
		pkg = strings.TrimPrefix(pkg, module)
		if strings.HasPrefix(pkg, "test") || strings.HasPrefix(pkg, "hack") {
			continue
		}
		allowed, ok := mayImport[pkg]
		if !ok {
			t.Errorf("%s has no row: add it here and in ARCHITECTURE.md", pkg)
		}
		for imported := range strings.FieldsSeq(imports) {
			name, ours := strings.CutPrefix(imported, module)
			if ours && !slices.Contains(allowed, name) {
				t.Errorf("%s must not import %s", pkg, name)
			}
		}
	}
}

// TestInstanceProcessStaysSmall keeps everything but the standard library and
// x/sys out of the process that every instance pays for.
func TestInstanceProcessStaysSmall(t *testing.T) {
	onlyDependsOn(t, "cmd/siflet-instance", "golang.org/x/sys/")
}

// TestActionStaysSmall does the same for the process that carries out an
// image's environment: it adds the shell interpreter and nothing else.
func TestActionStaysSmall(t *testing.T) {
	onlyDependsOn(t, "cmd/siflet-action", "golang.org/x/sys/", "golang.org/x/term", "mvdan.cc/sh/v3/")
}

// TestFileServerStaysSmall does the same for the process that serves an image to those
// who can't mount it: it adds what unpacks.
func TestFileServerStaysSmall(t *testing.T) {
	onlyDependsOn(t, "cmd/siflet-fuse", "golang.org/x/sys/", "github.com/klauspost/compress", "github.com/pierrec/lz4/",
		"github.com/therootcompany/xz", "github.com/anchore/go-lzo")
}

func onlyDependsOn(t *testing.T, pkg string, prefixes ...string) {
	t.Helper()
	heavy := []string{"net/http", "crypto/tls"}
	for _, dep := range goList(t, "-deps", module+pkg) {
		first, _, _ := strings.Cut(dep, "/")
		std := !strings.Contains(first, ".") && !slices.Contains(heavy, dep)
		known := func(prefix string) bool { return strings.HasPrefix(dep, prefix) }
		if !std && !known(module) && !slices.ContainsFunc(prefixes, known) {
			t.Errorf("%s depends on %s", pkg, dep)
		}
	}
}

// TestCommandLineLoadsNoProtocol keeps what only the agent needs out of the
// program that people wait for.
func TestCommandLineLoadsNoProtocol(t *testing.T) {
	for _, dep := range goList(t, "-deps", module+"cmd/siflet") {
		for _, heavy := range []string{"google.golang.org/grpc", "k8s.io/", "github.com/prometheus/", "github.com/containerd/nri"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("cmd/siflet depends on %s", dep)
			}
		}
	}
}

// TestProtocolStaysInCRI keeps gRPC and the CRI types out of every package but
// cri and the command that wires it.
func TestProtocolStaysInCRI(t *testing.T) {
	for _, pkg := range []string{"runtime", "runtime/image", "network", "cgroups"} {
		for _, dep := range goList(t, "-f", `{{join .Imports "\n"}}`, module+pkg) {
			if strings.HasPrefix(dep, "google.golang.org/grpc") || strings.HasPrefix(dep, "k8s.io/cri-api") {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
