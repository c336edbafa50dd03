package guides_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/test/walkthrough"
)

// TestGuides does what each guide says, in its order, on a machine that nobody has used.
func TestGuides(t *testing.T) {
	files, err := filepath.Glob("../../docs/howto/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	for _, file := range append(files, "../../docs/tutorial.md") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".md"), func(t *testing.T) { follow(t, file) })
	}
}

func follow(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := walkthrough.Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	w := newWorld(t)
	for _, s := range d.Sections {
		if !t.Run(strings.ReplaceAll(s.Title, " ", "-"), func(t *testing.T) {
			w.need(t, s.Needs)
			for _, step := range s.Steps {
				w.person.Step(t, step)
			}
		}) {
			return // what follows counts on it
		}
	}
}
