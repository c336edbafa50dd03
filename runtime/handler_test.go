package runtime

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestAHandlerWithoutCapabilitiesHasNoneAfterARestartEither(t *testing.T) {
	text, err := json.Marshal(Handler{Capabilities: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	var read Handler
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	var s ContainerSpec
	read.Container(&s)
	if !slices.Contains(s.Security.DropCaps, "ALL") {
		t.Errorf("of %s a container drops %q, want all", text, s.Security.DropCaps)
	}
	var usual ContainerSpec
	(&Handler{}).Container(&usual)
	if len(usual.Security.DropCaps) > 0 {
		t.Errorf("of a handler that says nothing a container drops %q, want nothing", usual.Security.DropCaps)
	}
}
