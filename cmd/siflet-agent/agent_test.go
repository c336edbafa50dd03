package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/siflet/siflet/cmd/internal/config"
)

func TestVersionIsAlwaysSemantic(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-4-gabc-dirty": "1.2.3-4-gabc-dirty", "dev": "0.0.0-dev", "33294fd_x": "0.0.0-33294fd-x",
	} {
		if got := semanticVersion(version); got != want {
			t.Errorf("semanticVersion(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestAPolicyIsNamedOnlyByThoseWhoSetIt(t *testing.T) {
	c := config.Defaults()
	s := sources(c)
	if !slices.Equal(s.Hosts, []string{"/etc/siflet/certs.d", "/etc/containerd/certs.d"}) || s.Policy != "/etc/siflet/policy.toml" || s.PolicyNamed {
		t.Errorf("sources = %+v, want the defaults and a policy that need not be there", s)
	}
	c.Policy = "/etc/siflet/policy.toml"
	if !sources(c).PolicyNamed {
		t.Error("a policy that somebody named need not be there")
	}
}

func TestTheLogChangesItsLevelAndFormat(t *testing.T) {
	var text bytes.Buffer
	c := config.Defaults()
	l := newLogbook(&text, c)
	child := l.With("a", 1)
	child.Debug("unseen")
	child.Info("first")
	c.LogLevel, c.LogFormat = "debug", "json"
	l.apply(c)
	child.Debug("second")
	got := text.String()
	if strings.Contains(got, "unseen") || !strings.Contains(got, "msg=first a=1\n") || !strings.Contains(got, `"msg":"second","a":1}`) {
		t.Errorf("log = %s", got)
	}
}
