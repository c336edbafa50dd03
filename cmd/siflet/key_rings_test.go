package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/trust"
)

func parsedKey(t *testing.T, text string) *trust.Key {
	t.Helper()
	keys, err := trust.ParseKeys([]byte(text))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	return keys[0]
}

func TestKeysAreListedWithTheirKeyrings(t *testing.T) {
	r := rings{own: trust.Keyring{Dir: filepath.Join(t.TempDir(), "own")}, system: trust.Keyring{Dir: filepath.Join(t.TempDir(), "system")}}
	want := map[string]string{}
	for whose, into := range map[string][]trust.Keyring{"own": {r.own}, "system": {r.system}, "own, system": {r.own, r.system}} {
		id, text := fastKey(t)
		want[id] = whose
		for _, ring := range into {
			if err := ring.Import([]*trust.Key{parsedKey(t, text)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := r.list(false)
	if err != nil || len(list) != len(want) {
		t.Fatalf("%d keys, %v; want %d", len(list), err, len(want))
	}
	for _, k := range list {
		if k.whose() != want[k.ID] {
			t.Errorf("%s is %q, want %q", k.ID, k.whose(), want[k.ID])
		}
		text, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID, Fingerprint string
			System          bool
		}
		if err := json.Unmarshal(text, &got); err != nil || got.ID != k.ID || got.Fingerprint != k.ID || got.System != strings.HasSuffix(want[k.ID], "system") {
			t.Errorf("%s, %v", text, err)
		}
	}
	if secret, err := r.list(true); err != nil || len(secret) != 2 {
		t.Errorf("%d secret keys, %v; want 2", len(secret), err)
	}
}

func TestSecretKeysGoOnlyWhenThatIsMeant(t *testing.T) {
	r := rings{own: trust.Keyring{Dir: filepath.Join(t.TempDir(), "own")}, system: trust.Keyring{Dir: filepath.Join(t.TempDir(), "system")}}
	secret, text := fastKey(t)
	if err := r.own.Import([]*trust.Key{parsedKey(t, text)}); err != nil {
		t.Fatal(err)
	}
	public, text := fastKey(t)
	k := parsedKey(t, text)
	open, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	for _, ring := range []trust.Keyring{r.own, r.system} {
		if err := ring.Import([]*trust.Key{parsedKey(t, string(open))}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		t.Helper()
		own, err := trust.Public(r.own)
		if err != nil {
			t.Fatal(err)
		}
		return len(own)
	}
	var said strings.Builder
	err = r.remove(&said, []string{public, secret}, removal{})
	if err == nil || err.Error() != secret+" has a secret key, which can't be had again; give --secret to remove it too" || count() != 2 {
		t.Errorf("%v, and %d keys are left; want to be asked for --secret, and 2", err, count())
	}
	if err := r.remove(&said, []string{public}, removal{}); err != nil || !strings.Contains(said.String(), "the system has a copy") || count() != 1 {
		t.Errorf("%v, said %q, and %d keys are left", err, said.String(), count())
	}
	if err := r.remove(&said, []string{public}, removal{}); err == nil || !strings.Contains(err.Error(), "give --system") {
		t.Errorf("a key of the system: %v", err)
	}
	if err := r.remove(&said, []string{secret}, removal{system: true}); err == nil || !strings.Contains(err.Error(), "leave out --system") {
		t.Errorf("a key of one's own: %v", err)
	}
	said.Reset()
	if err := r.remove(&said, []string{secret}, removal{secret: true}); err != nil || count() != 0 || said.String() != "" {
		t.Errorf("%v, said %q, and %d keys are left", err, said.String(), count())
	}
	if err := r.remove(&said, []string{public}, removal{system: true}); err != nil {
		t.Error(err)
	}
}
