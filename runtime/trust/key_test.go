package trust

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

func TestParseKeysReadsSeveralOfSeveralKinds(t *testing.T) {
	var text []byte
	for _, name := range []string{"private.asc", "ecdsa-public.pem", "rsa-public.pem"} {
		part, err := os.ReadFile(moduleFile(t, "keys/"+name))
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, part...), '\n')
	}
	keys, err := ParseKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	kinds := []Kind{}
	for _, k := range keys {
		kinds = append(kinds, k.Kind)
	}
	if !slices.Equal(kinds, []Kind{PGP, PEM, PEM}) || !keys[0].Secret {
		t.Errorf("kinds = %v, the first secret: %v", kinds, keys[0].Secret)
	}
	id := keys[1].ID
	if len(id) != 64 || !keys[1].Is("sha256:"+strings.ToUpper(id)) || keys[1].Is(id[:40]) {
		t.Errorf("ID = %q", id)
	}
	if !keys[0].Is("0x1204 5c8c 0b10 04d0 58de 4bed a20c 27ee 7ff7 ba84") {
		t.Errorf("ID = %q", keys[0].ID)
	}
}

func TestParseKeysReadsWhatItWrote(t *testing.T) {
	for _, k := range allModuleKeys(t) {
		text, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKeys(text)
		if err != nil || len(again) != 1 || !again[0].Is(k.ID) || again[0].Secret {
			t.Errorf("%s: %+v, %v", k, again, err)
		}
	}
}

func TestParseKeysRefusals(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(small.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(moduleFile(t, "keys/ecdsa-private.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string][]byte{
		"RSA key of 1024 bits": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"private key in PEM":   private,
		"no PGP key":           []byte("hello"),
		"no PGP key, ":         nil,
		"more than a file":     make([]byte, maxKeyFile+1),
		"asn1":                 pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
		"PGP":                  []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"),
	} {
		if keys, err := ParseKeys(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseKeys = %v, %v; want %q", keys, err, want)
		}
	}
}

func TestVerifyRefusesARevokedPGPKey(t *testing.T) {
	key, public := moduleSigner(t)
	path := signedSIF(t, key, definition("b"), primary(squash(9000, 1)))
	if err := public.entity.RevokeKey(packet.KeyCompromised, "lost", nil); err != nil {
		t.Fatal(err)
	}
	text, err := public.Public()
	if err != nil {
		t.Fatal(err)
	}
	revoked := parseKey(t, string(text))
	if _, err := Verify(t.Context(), path, []*Key{revoked}, VerifyOptions{}); !errors.Is(err, ErrBadSignature) {
		t.Errorf("Verify with a revoked key = %v, want ErrBadSignature", err)
	}
}

func TestPGPSignerRefusesAnExpiredKey(t *testing.T) {
	lifetime := uint32(3600)
	made := time.Now().Add(-2 * time.Hour)
	old := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: lifetime}
	e, err := openpgp.NewEntity("Old", "", "old@example.com", old)
	if err != nil {
		t.Fatal(err)
	}
	expired := pgpKey(e)
	if _, err := PGPSigner(expired); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("PGPSigner with an expired key = %v", err)
	}
}

func TestPGPKeysHaveTheAlgorithmsOfOthers(t *testing.T) {
	for want, config := range map[string]packet.Config{
		"ed25519":     {Algorithm: packet.PubKeyAlgoEdDSA},
		"ed448":       {Algorithm: packet.PubKeyAlgoEd448},
		"ecdsa-P-256": {Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256},
		"rsa2048":     {Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048},
	} {
		e, err := openpgp.NewEntity("Ada", "", "ada@example.com", &config)
		if err != nil {
			t.Fatal(err)
		}
		if got := pgpKey(e).Algorithm; got != want {
			t.Errorf("Algorithm = %s, want %s", got, want)
		}
	}
}

func TestPEMSignerReadsPrivateKeys(t *testing.T) {
	for _, name := range []string{"ecdsa", "ed25519", "rsa"} {
		text, err := os.ReadFile(moduleFile(t, "keys/"+name+"-private.pem"))
		if err != nil {
			t.Fatal(err)
		}
		key, err := PEMSigner(text, func() ([]byte, error) { return nil, errors.New("asked") })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		public := moduleKeys(t, name+"-public.pem")
		if key.ID() != public[0].ID {
			t.Errorf("%s: ID = %s, want %s", name, key.ID(), public[0].ID)
		}
		path := signedSIF(t, key, definition("c"))
		if _, err := Verify(t.Context(), path, public, VerifyOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyringKeepsSecretsApart(t *testing.T) {
	ring := Keyring{Dir: filepath.Join(t.TempDir(), "keys")}
	keys := allModuleKeys(t)
	if err := ring.Import(keys); err != nil {
		t.Fatal(err)
	}
	public, err := Public(ring, Keyring{Dir: filepath.Join(t.TempDir(), "none")}, ring)
	if err != nil || len(public) != len(keys) || slices.ContainsFunc(public, func(k *Key) bool { return k.Secret }) {
		t.Errorf("Public = %v, %v; want %d keys, none secret", public, err, len(keys))
	}
	secret, err := ring.Secret()
	if err != nil || len(secret) != 1 || !secret[0].Secret {
		t.Errorf("Secret = %v, %v", secret, err)
	}
	for path, want := range map[string]os.FileMode{"secret": 0o700, "secret/" + secret[0].ID + ".asc": 0o600, secret[0].ID + ".asc": 0o644} {
		if info, err := os.Stat(filepath.Join(ring.Dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", path, info, err, want)
		}
	}
	if err := ring.Remove(secret[0].ID); err != nil {
		t.Error(err)
	}
	if secret, err := ring.Secret(); err != nil || len(secret) != 0 {
		t.Errorf("Secret after Remove = %v, %v", secret, err)
	}
}

func TestKeyringRemoveSparesOtherKeysOfTheFile(t *testing.T) {
	dir := t.TempDir()
	var text []byte
	keys := moduleKeys(t, "ecdsa-public.pem", "rsa-public.pem")
	for _, k := range keys {
		part, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	writeFile(t, filepath.Join(dir, "both.pem"), text)
	if err := (Keyring{Dir: dir}).Remove(keys[0].ID); err == nil || !strings.Contains(err.Error(), "one of 2") {
		t.Errorf("Remove = %v", err)
	}
	if public, err := Public(Keyring{Dir: dir}); err != nil || len(public) != 2 {
		t.Errorf("Public = %v, %v", public, err)
	}
}

func TestPublicNamesTheFileThatIsNoKey(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "x.asc"), []byte("nothing"))
	if _, err := Public(Keyring{Dir: filepath.Dir(path)}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Public = %v, want the file's name", err)
	}
}

func TestNamesOfStrangersAreShownPrintable(t *testing.T) {
	if got := printable("a\x1b[31m\u202eb\n"); got != "a?[31m?b?" {
		t.Errorf("printable = %q", got)
	}
}
