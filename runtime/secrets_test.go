package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/record"
)

func TestSecretsAreInNoRecord(t *testing.T) {
	dir := t.TempDir()
	i := &instance{id: "i", dir: filepath.Join(dir, "i"), run: filepath.Join(dir, "run"), containers: map[string]*container{}}
	c := &container{id: "c", inst: i, dir: filepath.Join(i.dir, "containers", "c")}
	for _, name := range []string{c.dir, i.run} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	spec := ContainerSpec{
		Name: "web", Env: []string{"A=s3cret"}, Action: []byte("s3cret"),
		Service: &Service{Health: &HealthCheck{ExecSpec: ExecSpec{Args: []string{"true"}, Env: []string{"B=s3cret"}, Action: []byte("s3cret")}, Retries: 3}},
	}
	rec := containerRecord{ID: "c", InstanceID: "i", Spec: spec}
	if err := c.keepApart(&rec); err != nil {
		t.Fatal(err)
	}
	if err := record.WriteVolatile(c.recordPath(), rec); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.recordPath())
	if err != nil || strings.Contains(string(text), "s3cret") || strings.Contains(string(text), "czNjcmV0") || !strings.Contains(string(text), "web") {
		t.Errorf("the record is %s, %v, want it without secrets", text, err)
	}
	if info, err := os.Stat(c.secretsPath()); err != nil || info.Mode() != 0o600 {
		t.Errorf("secrets: %v, %v, want a file of mode 0600", info, err)
	}
	if diff := cmp.Diff(spec, rec.Spec); diff != "" {
		t.Errorf("the spec in use has changed (-want +got):\n%s", diff)
	}

	if err := loadContainers(i); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec, i.containers["c"].rec.Spec); diff != "" || i.containers["c"].forgot {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	if err := os.RemoveAll(i.run); err != nil {
		t.Fatal(err)
	}
	if err := loadContainers(i); err != nil {
		t.Fatal(err)
	}
	if got := i.containers["c"]; !got.forgot || !got.rec.RemovingAt.IsZero() || got.rec.Spec.Name != "web" {
		t.Errorf("without the run files: %+v, want the record and to know what is missing", got.rec)
	}
}

func TestRecordOfAnEarlierVersionKeepsItsEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "container.json")
	if err := record.Write(path, containerRecord{ID: "c", Spec: ContainerSpec{Env: []string{"A=1"}}}); err != nil {
		t.Fatal(err)
	}
	var got containerRecord
	if err := record.Read(path, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=1"}, got.Spec.Env); diff != "" || got.Apart {
		t.Errorf("Env (-want +got):\n%s", diff)
	}
}
