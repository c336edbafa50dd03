package trust

import (
	"crypto/sha256"
	"testing"
)

const benchSize = 256 << 20

// BenchmarkVerify verifies a file of 256 MiB in the page cache.
func BenchmarkVerify(b *testing.B) {
	private := signers(b)["Ed25519"]
	path := signedSIF(b, SigningKey{private: private}, definition("a"), primary(squash(benchSize, 1)))
	keys := []*Key{keyOf(b, private)}
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := Verify(b.Context(), path, keys, VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSHA256 is what it can't be faster than.
func BenchmarkSHA256(b *testing.B) {
	text := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		sha256.Sum256(text)
	}
}

// BenchmarkCheck checks an image that was verified before, as every start of a
// container does.
func BenchmarkCheck(b *testing.B) {
	f := newPolicy(b, allSigned)
	path := signedSIF(b, f.key, definition("a"), primary(squash(8<<20, 1)))
	p := f.load(b)
	settle(b, p, path)
	s := Subject{References: []string{path}, Path: path}
	for b.Loop() {
		if err := p.Check(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheckAttached checks a signature that is attached in a registry.
func BenchmarkCheckAttached(b *testing.B) {
	f := newPolicy(b, allSigned)
	p := f.load(b)
	settle(b, p, "")
	s := Subject{
		References: []string{"r.example/x:1"}, Manifests: []string{"sha256:aa"},
		Signatures: []Signature{simple(b, f.key.private, "sha256:aa")},
	}
	for b.Loop() {
		if err := p.Check(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// settle makes files that were just written pass for old ones.
func settle(b *testing.B, p *Policy, path string) {
	b.Helper()
	loaded, err := p.current()
	if err != nil {
		b.Fatal(err)
	}
	loaded.read = loaded.read.Add(coarse * 2)
	if path == "" {
		return
	}
	r, err := loaded.known.of(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	loaded.known.keep(stampOf(path), r)
}
