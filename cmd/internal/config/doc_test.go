package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the file in docs/configuration.md")

func TestDocumentationShowsTheDefaultFile(t *testing.T) {
	const path, begin, end = "../../../docs/configuration.md", "```toml\n", "```\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no block of TOML", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+DefaultFile()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(DefaultFile(), shown); diff != "" {
		t.Errorf("go test ./cmd/internal/config -update mends this (-want +got):\n%s", diff)
	}
}
