package services_test

import (
	"os"
	"strings"
	"testing"

	"github.com/siflet/siflet/test/walkthrough"
)

// patience is for what comes up in the background.
const patience = walkthrough.Patience

// TestRunningServices does what the document says, in its order.
func TestRunningServices(t *testing.T) {
	text, err := os.ReadFile("../../docs/running-services.md")
	if err != nil {
		t.Fatal(err)
	}
	d, err := walkthrough.Parse(string(text))
	if err != nil {
		t.Fatalf("docs/running-services.md: %v", err)
	}
	before := mounts(t)
	t.Cleanup(func() { checkNothingLeft(t, before) })
	w := newWorld(t)
	person := walkthrough.Person{Env: w.env, Dir: home, Screen: work("output")}
	for _, s := range d.Sections {
		t.Run(strings.ReplaceAll(s.Title, " ", "-"), func(t *testing.T) {
			w.need(t, s.Needs)
			// What a section leaves is the next one's; what a failed one leaves is nobody's.
			defer func() {
				if t.Failed() {
					w.stopAll(t)
				}
			}()
			for _, step := range s.Steps {
				person.Step(t, step)
			}
		})
	}
	w.stopAll(t)
}
