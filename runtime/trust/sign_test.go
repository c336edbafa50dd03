package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sylabs/sif/v2/pkg/integrity"
	refsif "github.com/sylabs/sif/v2/pkg/sif"

	"github.com/siflet/siflet/runtime/sif"
)

// create makes a SIF file of our own.
func create(tb testing.TB, o sif.Options) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.sif")
	if err := sif.Create(path, o); err != nil {
		tb.Fatal(err)
	}
	return path
}

func moduleSigner(tb testing.TB) (SigningKey, *Key) {
	tb.Helper()
	k := moduleKeys(tb, "private.asc")[0]
	s, err := PGPSigner(k)
	if err != nil {
		tb.Fatal(err)
	}
	return s, k
}

func mustSign(tb testing.TB, path string, key SigningKey) {
	tb.Helper()
	if err := Sign(tb.Context(), path, key, SignOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// reference verifies a file as Singularity and Apptainer do.
func reference(tb testing.TB, path string, o ...integrity.VerifierOpt) error {
	tb.Helper()
	f, err := refsif.LoadContainerFromPath(path, refsif.OptLoadWithFlag(os.O_RDONLY))
	if err != nil {
		return err
	}
	defer func() { _ = f.UnloadContainer() }()
	v, err := integrity.NewVerifier(f, o...)
	if err != nil {
		return err
	}
	return v.Verify()
}

func TestWhatPGPSignsTheReferenceImplementationVerifies(t *testing.T) {
	key, public := moduleSigner(t)
	ring := integrity.OptVerifyWithKeyRing(openpgp.EntityList{public.entity})
	for name, path := range map[string]string{
		"ours":       create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(9000, 1)), overlay(squash(5000, 2))}}),
		"anonymous":  create(t, sif.Options{Deterministic: true, Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}}),
		"one group":  copyFile(t, moduleFile(t, "images/one-group.sif")),
		"two groups": copyFile(t, moduleFile(t, "images/two-groups.sif")),
	} {
		for range 2 { // a file may be signed again
			mustSign(t, path, key)
			if err := reference(t, path, ring); err != nil {
				t.Errorf("%s: the reference implementation: %v", name, err)
			}
			if _, err := Verify(t.Context(), path, []*Key{public}, VerifyOptions{All: true}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestWhatPEMKeysSignTheReferenceImplementationVerifies(t *testing.T) {
	for name, private := range signers(t) {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		key, err := PEMSigner(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
		if err != nil {
			t.Fatal(err)
		}
		path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}})
		mustSign(t, path, key)
		v, err := signature.LoadVerifier(private.Public(), crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if err := reference(t, path, integrity.OptVerifyWithVerifier(v)); err != nil {
			t.Errorf("%s: the reference implementation: %v", name, err)
		}
		if _, err := Verify(t.Context(), path, []*Key{keyOf(t, private)}, VerifyOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatTheReferenceImplementationSignsVerifies(t *testing.T) {
	_, public := moduleSigner(t)
	path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(3<<20, 1))}})
	f, err := refsif.LoadContainerFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := integrity.NewSigner(f, integrity.OptSignWithEntity(public.entity))
	if err == nil {
		err = s.Sign()
	}
	if err := errors.Join(err, f.UnloadContainer()); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), path, []*Key{public}, VerifyOptions{All: true}); err != nil {
		t.Error(err)
	}
}

func TestSignLeavesTheRestOfTheFileAlone(t *testing.T) {
	key, _ := moduleSigner(t)
	path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, path, key)
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const data = 4096 + 48*descriptorSize
	if !bytes.Equal(before[data:], after[data:len(before)]) {
		t.Error("objects changed")
	}
	f, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if image, err := f.Image(); err != nil || len(image.Extents) != 1 {
		t.Errorf("Image = %+v, %v", image, err)
	}
}

func TestSignRefusesAFullTable(t *testing.T) {
	private := signers(t)["Ed25519"]
	key, public := SigningKey{private: private}, keyOf(t, private)
	path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}})
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = Sign(t.Context(), path, key, SignOptions{})
	}
	if err == nil || !strings.Contains(err.Error(), "table is full") {
		t.Errorf("Sign = %v, want a full table", err)
	}
	if _, err := Verify(t.Context(), path, []*Key{public}, VerifyOptions{All: true}); err != nil {
		t.Errorf("Verify = %v", err)
	}
}

// step goes on by a few bytes, but not past the end.
func step(n, end int) int {
	if n < end {
		return min(n+7, end)
	}
	return end + 1
}

// TestSignInterruptedLeavesAValidFile stops every few bytes of what is written.
func TestSignInterruptedLeavesAValidFile(t *testing.T) {
	private := signers(t)["Ed25519"]
	key, public := SigningKey{private: private}, keyOf(t, private)
	path := signedSIF(t, key, definition("a"), primary(squash(9000, 1)))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := readContainer(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	again := text[c.signatures[0].Offset:][:c.signatures[0].Size]
	writes, err := c.signatureWrites(int64(len(text)), 1, again, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range writes {
		for n := 0; n <= len(w.data); n = step(n, len(w.data)) {
			state := slices.Clone(text)
			state = append(state, make([]byte, max(0, int(w.offset)+n-len(state)))...)
			copy(state[w.offset:], w.data[:n])
			writeFile(t, path, state)
			if s, err := Verify(t.Context(), path, []*Key{public}, VerifyOptions{All: true}); err != nil || len(s) > 2 {
				t.Fatalf("%d bytes at %d of %d: %d signers, %v", n, w.offset, len(state), len(s), err)
			}
			if n == len(w.data) {
				text = state
			}
		}
	}
	if s, err := Verify(t.Context(), path, []*Key{public}, VerifyOptions{All: true}); err != nil || len(s) != 2 {
		t.Errorf("in the end: %d signers, %v; want 2", len(s), err)
	}
}

func TestSignTakesKeysOfGnuPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip(err)
	}
	home := t.TempDir()
	writeFile(t, filepath.Join(home, "gpg-agent.conf"), []byte("s2k-count 65536\n")) // or it measures the machine
	gpg := func(args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "secret"}, args...)...)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v: %s", args, err, complaints.Bytes())
		}
		return out
	}
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	for _, algorithm := range []string{"ed25519", "nistp256"} {
		name := "Test <" + algorithm + "@example.com>"
		gpg("--quick-generate-key", name, algorithm, "sign", "1y")
		keys, err := ParseKeys(gpg("--export-secret-keys", algorithm+"@example.com"))
		if err != nil || len(keys) != 1 || !keys[0].Secret || !keys[0].Locked() || keys[0].NotAfter.IsZero() {
			t.Fatalf("ParseKeys = %+v, %v", keys, err)
		}
		if err := keys[0].Unlock("wrong"); err == nil {
			t.Error("unlocked with a wrong passphrase")
		}
		if err := keys[0].Unlock("secret"); err != nil {
			t.Fatal(err)
		}
		key, err := PGPSigner(keys[0])
		if err != nil {
			t.Fatal(err)
		}
		path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}})
		mustSign(t, path, key)
		public, err := ParseKeys(gpg("--armor", "--export", algorithm+"@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if err := reference(t, path, integrity.OptVerifyWithKeyRing(entities(public))); err != nil {
			t.Errorf("%s: the reference implementation: %v", algorithm, err)
		}
		if s, err := Verify(t.Context(), path, public, VerifyOptions{}); err != nil || s[0].Key.Email != algorithm+"@example.com" {
			t.Errorf("%s: %+v, %v", algorithm, s, err)
		}
	}
}
