package config

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDurationsAreShownAsTheFileHasThem(t *testing.T) {
	c := Defaults()
	c.Handlers = map[string]Handler{"a": DefaultHandler()}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"cni_timeout":"1m30s"`, `"stream_idle_timeout":"4h"`, `"runtime_timeout":"1m"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s, want %s", text, want)
		}
	}
}
