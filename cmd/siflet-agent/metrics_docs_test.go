package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/siflet/siflet/runtime"
)

// described are the names of what the agent serves.
func described() map[string]bool {
	m := newMetrics()
	m.registry.MustRegister(
		storeSize(func() (uint64, uint64, string, error) { return 0, 0, "", nil }), counted(func() runtime.Counts { return runtime.Counts{} }),
	)
	all := make(chan *prometheus.Desc)
	go func() {
		m.registry.Describe(all)
		close(all)
	}()
	names := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range all {
		names[name.FindStringSubmatch(d.String())[1]] = true
	}
	// What the Go collector has depends on Go, and is not described.
	return names
}

// named are the metrics that a file speaks of, without what a histogram adds.
func named(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(siflet|process)_[a-z_]+`).FindAllString(string(text), -1) {
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, end)
		}
		names[name] = true
	}
	return names
}

func TestFilesSpeakOfMetricsThatExist(t *testing.T) {
	have := described()
	for _, file := range []string{"monitoring/siflet-alerts.yaml", "monitoring/siflet-dashboard.json", "metrics.md"} {
		names := named(t, file)
		if len(names) < 5 {
			t.Errorf("%s speaks of no more than %d metrics", file, len(names))
		}
		for name := range names {
			// The table has what was left out of a name, and the lines that grep for one.
			if !have[name] && name != "siflet_" && !strings.HasSuffix(name, "_") {
				t.Errorf("%s speaks of %s, which the agent does not serve", file, name)
			}
		}
	}
}

func TestEveryMetricIsInTheDocument(t *testing.T) {
	told := named(t, "metrics.md")
	for name := range described() {
		if strings.HasPrefix(name, "siflet_") && !told[name] && name != "siflet_image_store_files" { // "_bytes, _files"
			t.Errorf("docs/metrics.md does not speak of %s", name)
		}
	}
}

func TestAlertsAreComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/monitoring/siflet-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || seen[r.Alert] {
				t.Errorf("a rule lacks something, or comes twice: %+v", r)
			}
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") || strings.Count(r.Expr, "{") != strings.Count(r.Expr, "}") {
				t.Errorf("%s: brackets do not match: %s", r.Alert, r.Expr)
			}
			seen[r.Alert] = true
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
}

func TestTheDashboardIsOne(t *testing.T) {
	text, err := os.ReadFile("../../docs/monitoring/siflet-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range file.Panels {
		if p.Title == "" || seen[p.ID] || len(p.Targets) == 0 {
			t.Errorf("a panel lacks something, or comes twice: %+v", p)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") || strings.Count(target.Expr, "{") != strings.Count(target.Expr, "}") {
				t.Errorf("%s: brackets do not match: %s", p.Title, target.Expr)
			}
		}
	}
	if file.Title == "" || len(file.Panels) == 0 {
		t.Error("there is no dashboard")
	}
}
