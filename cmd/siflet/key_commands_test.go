package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/sif"
)

// keyCommands runs the commands about keys and signatures for a person of its own.
type keyCommands struct {
	t      *testing.T
	stderr bytes.Buffer
}

func newKeyCommands(t *testing.T) *keyCommands {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	return &keyCommands{t: t}
}

func (k *keyCommands) run(stdin string, args ...string) (string, error) {
	k.t.Helper()
	k.stderr.Reset()
	w := &workshop{stderr: &k.stderr}
	var out bytes.Buffer
	root := group(&cobra.Command{Use: "siflet", SilenceErrors: true, SilenceUsage: true},
		w.keyCommand(), w.signCommand(), w.verifyCommand())
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&k.stderr)
	err := root.ExecuteContext(k.t.Context())
	return strings.TrimSpace(out.String()), err
}

func (k *keyCommands) ok(stdin string, args ...string) string {
	k.t.Helper()
	out, err := k.run(stdin, args...)
	if err != nil {
		k.t.Fatalf("siflet %s: %v\n%s", strings.Join(args, " "), err, k.stderr.String())
	}
	return out
}

func aSIF(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.sif")
	err := sif.Create(path, sif.Options{Objects: []sif.Object{{Type: sif.TypeDefinition, Data: strings.NewReader("Bootstrap: scratch\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNewpairSignVerify(t *testing.T) {
	k := newKeyCommands(t)
	fingerprint := k.ok("pass\npass\n", "key", "newpair", "--name", "Ada", "--email", "ada@example.com")
	path := aSIF(t)
	if _, err := k.run("", "verify", path); err == nil || !strings.Contains(err.Error(), "not signed") {
		t.Errorf("verify of an unsigned file: %v, want not signed", err)
	}
	if _, err := k.run("wrong\n", "sign", path); err == nil || !strings.Contains(err.Error(), "wrong passphrase") {
		t.Errorf("sign with a wrong passphrase: %v", err)
	}
	k.ok("pass\n", "sign", "--fingerprint", fingerprint, path)
	out := k.ok("", "verify", path)
	for _, want := range []string{"Signing entity: Ada <ada@example.com>", "Fingerprint: " + fingerprint, "Def.FILE"} {
		if !strings.Contains(out, want) {
			t.Errorf("verify says\n%s\nwithout %q", out, want)
		}
	}
	var result struct {
		Verified   bool
		SignerKeys []struct{ Signer struct{ Fingerprint string } }
	}
	if err := json.Unmarshal([]byte(k.ok("", "verify", "--json", path)), &result); err != nil {
		t.Fatal(err)
	}
	if !result.Verified || len(result.SignerKeys) != 1 || result.SignerKeys[0].Signer.Fingerprint != fingerprint {
		t.Errorf("verify --json = %+v", result)
	}
	if _, err := k.run("", "key", "remove", fingerprint); err == nil || !strings.Contains(err.Error(), "give --secret to remove it too") {
		t.Errorf("remove of a key with a secret half: %v, want it to ask for --secret", err)
	}
	k.ok("", "verify", path)
	k.ok("", "key", "remove", "--secret", fingerprint)
	if _, err := k.run("", "verify", path); err == nil || !strings.Contains(err.Error(), "unknown key "+fingerprint) {
		t.Errorf("verify without the key: %v, want an unknown key", err)
	}
	if _, err := k.run("", "key", "remove", fingerprint); err == nil {
		t.Error("removing a key twice succeeds")
	}
}

// fastKey makes a secret key of a kind that takes no time to make.
func fastKey(t *testing.T) (fingerprint, text string) {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}
	e, err := openpgp.NewEntity("Ada", "", "ada@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.SerializePrivate(&out, config); err != nil {
		t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint)), out.String()
}

func TestKeysMoveByExportAndImport(t *testing.T) {
	k := newKeyCommands(t)
	fingerprint, made := fastKey(t)
	k.ok(made, "key", "import", "-")
	public := k.ok("", "key", "export", fingerprint)
	secret := k.ok("", "key", "export", "--secret", fingerprint)
	path := aSIF(t)
	k.ok("", "sign", path)

	k = newKeyCommands(t)
	k.ok(public+"\n", "key", "import", "-")
	k.ok("", "verify", path)
	if _, err := k.run("", "sign", path); err == nil || !strings.Contains(err.Error(), "siflet key newpair") {
		t.Errorf("sign without a secret key: %v", err)
	}
	k.ok(secret+"\n", "key", "import", "-")
	k.ok("", "sign", path)
	if out := k.ok("", "key", "list"); strings.Count(out, fingerprint) != 1 || !strings.Contains(out, "ed25519 ") {
		t.Errorf("key list says\n%s", out)
	}
	file := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "siflet", "keys", "secret", fingerprint+".asc")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret key: %v, %v; want mode 0600", info, err)
	}
}
