package trust

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sylabs/sif/v2/pkg/integrity"
)

// FuzzVerify changes signed files. Whatever we accept, the reference
// implementation must accept too.
func FuzzVerify(f *testing.F) {
	for _, name := range []string{"one-group-signed-pgp.sif", "one-group-signed-dsse.sif", "one-group-signed-legacy.sif", "two-groups-signed-pgp.sif"} {
		text, err := os.ReadFile(moduleFile(f, "images/"+name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	keys := allModuleKeys(f)
	verifiers := []signature.Verifier{}
	for _, k := range keys {
		if k.public != nil {
			v, err := signature.LoadDefaultVerifier(k.public)
			if err != nil {
				f.Fatal(err)
			}
			verifiers = append(verifiers, v)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := writeFile(t, filepath.Join(t.TempDir(), "x.sif"), text)
		_, legacy := Verify(t.Context(), path, keys, VerifyOptions{Legacy: true})
		_ = legacy
		signers, err := Verify(t.Context(), path, keys, VerifyOptions{All: true})
		if err != nil {
			return
		}
		if len(signers) == 0 {
			t.Fatal("verified without a signer")
		}
		if err := reference(t, path, integrity.OptVerifyWithKeyRing(entities(keys)), integrity.OptVerifyWithVerifier(verifiers...)); err != nil {
			t.Errorf("accepted, and the reference implementation says: %v", err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	for _, name := range []string{"private.asc", "ecdsa-public.pem", "ed25519-public.pem", "rsa-public.pem"} {
		text, err := os.ReadFile(moduleFile(f, "keys/"+name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if err == nil && len(keys) == 0 {
			t.Error("no keys and no error")
		}
		for _, k := range keys {
			if k.ID == "" || k.String() == "" {
				t.Errorf("a key without an ID: %+v", k)
			}
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(tablePolicy, "docker.io/library/nginx:latest")
	f.Add("[[rule]]\nimages=[\"**\"]\nrequire=\"reject\"", "/x/../y@z:1")
	f.Fuzz(func(_ *testing.T, text, ref string) {
		s, err := parsePolicy(text, func(string) ([]*Key, error) { return nil, nil })
		if err != nil {
			return
		}
		s.demands(namesOf([]string{ref}, []string{"sha256:aa"}), "prod")
		s.attached([]string{ref})
	})
}

func FuzzAttached(f *testing.F) {
	f.Add([]byte(imagePayload), imageSignature, []byte(nil))
	f.Add([]byte(nil), "", []byte(cosignBundle))
	keys := []*Key{parseKey(f, imageKey), parseKey(f, cosignKey)}
	f.Fuzz(func(t *testing.T, payload []byte, signature string, bundle []byte) {
		s := Subject{Signatures: []Signature{{Payload: payload, Signature: signature, Bundle: bundle}}, Manifests: []string{"sha256:aa"}}
		for _, k := range keys {
			if s.attachedBy(k) == nil {
				t.Error("a signature of an image that nobody signed")
			}
		}
	})
}
