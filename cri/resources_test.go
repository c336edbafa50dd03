package cri

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime"
)

func TestAScoreThatCannotBeGivenIsToldOf(t *testing.T) {
	floor := func(n int) *int { return &n }
	for _, c := range []struct {
		name  string
		floor *int
		asked int64
		given int
		told  bool
	}{
		{"as asked", floor(0), 500, 500, false},
		{"the least there is", floor(0), 0, 0, false},
		{"less than there is", floor(0), -997, 0, true},
		{"less than the agent's own", floor(-500), -997, -500, true},
		{"not restricted", nil, -997, -997, false},
	} {
		var log bytes.Buffer
		s := &Server{log: slog.New(slog.NewTextHandler(&log, nil)), node: Node{Limits: runtime.NodeLimits{OOMScoreFloor: c.floor}}}
		if got := s.oomScore("linux", c.asked); *got != c.given {
			t.Errorf("%s: oomScore(%d) = %d, want %d", c.name, c.asked, *got, c.given)
		}
		text := log.String()
		if told := strings.Contains(text, "level=WARN") && strings.Contains(text, "field=linux.oom_score_adj asked=-997"); told != c.told || !c.told && text != "" {
			t.Errorf("%s: log %q, want a warning: %v", c.name, text, c.told)
		}
	}
}
