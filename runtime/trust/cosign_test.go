package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// Made by cosign 3.1.3 ("sign-blob --key --bundle") over "abc  tool.tar.gz\n".
const (
	cosignKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTRPXyZyWm2MFhyPWSaDLRUUphR/
liYwL4jbXuSfQOCVqzSavcPOA3t5/SEc/5dqmEw3ZxFX6D81iwVSfsmVrw==
-----END PUBLIC KEY-----
`
	cosignBundle = `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"fDk+PLNDNKP7F+htxGzR0HoZ0Pa/Lmss1TS4hn8oDd8="}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"iLztL7WfNjj0j1EYEnAfdoTR5iGEJCiLuqWIlEFZw44="},"signature":"MEUCIHHPJvjyK8MIuCQT0FhPmn35E3PqzF+LxNhL7GV8EbvxAiEAx3dOKGEywHKaC6p34roxxfxR4JNfxZgjPbxafFZALU4="}}`
	cosignDigest = "sha256:88bced2fb59f3638f48f511812701f7684d1e6218424288bbaa588944159c38e"
)

// Made by cosign for an image; of the test data of sigstore-rs.
const (
	imageKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----
`
	imagePayload   = `{"critical":{"identity":{"docker-reference":"registry-testing.svc.lan/busybox"},"image":{"docker-manifest-digest":"sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b"},"type":"cosign container image signature"},"optional":null}`
	imageSignature = "MEUCIQD6q/COgzOyW0YH1Dk+CCYSt4uAhm3FDHUwvPI55zwnlwIgE0ZK58ZOWpZw8YVmBapJhBqCfdPekIknimuO0xH8Jh8="
	imageDigest    = "sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b"
)

func parseKey(tb testing.TB, text string) *Key {
	tb.Helper()
	keys, err := ParseKeys([]byte(text))
	if err != nil || len(keys) != 1 {
		tb.Fatalf("ParseKeys = %v, %v", keys, err)
	}
	return keys[0]
}

func TestSignaturesThatCosignMade(t *testing.T) {
	byBlob, byImage := parseKey(t, cosignKey), parseKey(t, imageKey)
	blob := Signature{Bundle: []byte(cosignBundle)}
	simple := Signature{Payload: []byte(imagePayload), Signature: imageSignature}
	damaged := Signature{Payload: []byte(strings.Replace(imagePayload, "f3cf", "f3ce", 1)), Signature: imageSignature}
	for name, c := range map[string]struct {
		s      Signature
		digest string
		key    *Key
		want   error
	}{
		"bundle":                   {blob, cosignDigest, byBlob, nil},
		"bundle of another image":  {blob, imageDigest, byBlob, ErrChanged},
		"bundle by another":        {blob, cosignDigest, byImage, ErrUnknownKey},
		"payload":                  {simple, imageDigest, byImage, nil},
		"payload of another image": {simple, cosignDigest, byImage, ErrChanged},
		"payload by another":       {simple, imageDigest, byBlob, ErrUnknownKey},
		"payload changed":          {damaged, imageDigest, byImage, ErrUnknownKey},
	} {
		s := Subject{Signatures: []Signature{c.s}, Manifests: []string{"sha256:0000", c.digest}}
		if err := s.attachedBy(c.key); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// signers make one key of every kind that cosign has.
func signers(tb testing.TB) map[string]crypto.Signer {
	tb.Helper()
	made := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		made[name] = key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	made["Ed25519"], made["RSA"] = ed, r
	return made
}

func rawSign(tb testing.TB, key crypto.Signer, o crypto.SignerOpts, message []byte) []byte {
	tb.Helper()
	if _, ok := key.(ed25519.PrivateKey); ok {
		o = crypto.Hash(0)
	} else {
		w := o.HashFunc().New()
		w.Write(message)
		message = w.Sum(nil)
	}
	raw, err := key.Sign(rand.Reader, message, o)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func keyOf(tb testing.TB, key crypto.Signer) *Key {
	tb.Helper()
	k, err := publicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func payload(kind, digest string) []byte {
	return []byte(`{"critical":{"identity":{"docker-reference":"r/x"},"image":{"docker-manifest-digest":"` + digest + `"},"type":"` + kind + `"},"optional":null}`)
}

// simple signs a digest as cosign does by default.
func simple(tb testing.TB, key crypto.Signer, digest string) Signature {
	tb.Helper()
	text := payload(simpleSigning, digest)
	return Signature{Payload: text, Signature: base64.StdEncoding.EncodeToString(rawSign(tb, key, crypto.SHA256, text))}
}

func dsseBundle(tb testing.TB, key crypto.Signer, payloadType, text string) Signature {
	tb.Helper()
	raw := rawSign(tb, key, crypto.SHA256, preAuth(payloadType, []byte(text)))
	out, err := json.Marshal(map[string]any{
		"mediaType": bundlePrefix + ".v0.3+json",
		"dsseEnvelope": map[string]any{
			"payload": []byte(text), "payloadType": payloadType,
			"signatures": []any{map[string]any{"sig": raw}},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return Signature{Bundle: out}
}

func statementText(predicate, digits string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"` + digits + `"}}],"predicateType":"` + predicate + `","predicate":{}}`
}

func TestCosignSignaturesOfEveryKindOfKey(t *testing.T) {
	digits := strings.Repeat("ab", 32)
	all := signers(t)
	for name, key := range all {
		other := all["P-256"]
		if name == "P-256" {
			other = all["RSA"]
		}
		for kind, s := range map[string]Signature{
			"payload":   simple(t, key, "sha256:"+digits),
			"statement": dsseBundle(t, key, statementType, statementText(signPredicate, digits)),
		} {
			s := Subject{Signatures: []Signature{s}, Manifests: []string{"sha256:" + digits}}
			if err := s.attachedBy(keyOf(t, key)); err != nil {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
			if err := s.attachedBy(keyOf(t, other)); !errors.Is(err, ErrUnknownKey) {
				t.Errorf("%s, %s, another key: %v, want ErrUnknownKey", name, kind, err)
			}
		}
	}
}

func TestCosignTakesPSSAndTheHashOfTheCurve(t *testing.T) {
	all := signers(t)
	text := payload(simpleSigning, "sha256:aa")
	for name, o := range map[string]crypto.SignerOpts{
		"RSA": &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}, "P-384": crypto.SHA384,
	} {
		raw := base64.StdEncoding.EncodeToString(rawSign(t, all[name], o, text))
		s := Subject{Signatures: []Signature{{Payload: text, Signature: raw}}, Manifests: []string{"sha256:aa"}}
		if err := s.attachedBy(keyOf(t, all[name])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCosignWantsASignatureAndNoOtherStatement(t *testing.T) {
	key := signers(t)["P-256"]
	text := payload("atomic container signature", "sha256:aa")
	for name, s := range map[string]Signature{
		"another type of payload": {Payload: text, Signature: base64.StdEncoding.EncodeToString(rawSign(t, key, crypto.SHA256, text))},
		"an attestation":          dsseBundle(t, key, statementType, statementText("https://cosign.sigstore.dev/attestation/vuln/v1", "aa")),
		"another payload type":    dsseBundle(t, key, "text/plain", statementText(signPredicate, "aa")),
		"nothing":                 {},
		"no JSON":                 {Bundle: []byte("{")},
	} {
		s := Subject{Signatures: []Signature{s}, Manifests: []string{"sha256:aa"}}
		if err := s.attachedBy(keyOf(t, key)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
