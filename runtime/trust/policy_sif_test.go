package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/sif"
)

const allSigned = "[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY\"]\n"

func signedSIF(tb testing.TB, key SigningKey, objects ...sif.Object) string {
	tb.Helper()
	path := create(tb, sif.Options{Objects: objects})
	mustSign(tb, path, key)
	return path
}

func TestPolicyAcceptsASignedSIF(t *testing.T) {
	f := newPolicy(t, allSigned)
	p := f.load(t)
	path := signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)))
	for range 2 {
		if err := p.Check(t.Context(), Subject{References: []string{path}, Path: path}); err != nil {
			t.Error(err)
		}
	}
}

func TestPolicyMatchAllWantsEveryKey(t *testing.T) {
	other := signers(t)["P-256"]
	f := newPolicy(t, "")
	pub, err := keyOf(t, other).Public()
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "b.pub"), pub)
	text := "[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"KEY\", \"" + file + "\"]\nmatch = \"%s\"\n"
	path := signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)))
	s := Subject{References: []string{path}, Path: path}
	check := func(match string) error {
		f.write(t, fmt.Sprintf(text, match))
		return f.load(t).Check(t.Context(), s)
	}
	if err := check("any"); err != nil {
		t.Errorf("any: %v", err)
	}
	if err := check("all"); !errors.Is(err, ErrPolicy) {
		t.Errorf("all with one signature: %v, want ErrPolicy", err)
	}
	mustSign(t, path, SigningKey{private: other})
	if err := check("all"); err != nil {
		t.Errorf("all with both: %v", err)
	}
}

func TestPolicyTakesAttachedSignatures(t *testing.T) {
	f := newPolicy(t, allSigned)
	p := f.load(t)
	digest := "sha256:" + strings.Repeat("ab", 32)
	s := Subject{
		References: []string{"r.example/x:1"}, Manifests: []string{digest},
		Signatures: []Signature{simple(t, f.key.private, digest)},
	}
	if err := p.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	s.Manifests = []string{"sha256:" + strings.Repeat("cd", 32)}
	if err := p.Check(t.Context(), s); !errors.Is(err, ErrPolicy) {
		t.Errorf("of another image: %v, want ErrPolicy", err)
	}
}

// age makes a file one that has not been touched for a while, as those that
// images are started from are; only such are remembered.
func age(tb testing.TB, path string) time.Time {
	tb.Helper()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		tb.Fatal(err)
	}
	return old
}

func TestPolicyRemembersUntilTheFileChanges(t *testing.T) {
	f := newPolicy(t, allSigned)
	p := f.load(t)
	path := signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)))
	s := Subject{References: []string{path}, Path: path}
	loaded, err := p.current()
	if err != nil {
		t.Fatal(err)
	}
	// The time of the last change can't be set back, so pretend that it was found
	// to be good a while ago.
	r, err := loaded.known.of(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	loaded.known.keep(stampOf(path), r)
	if again, err := loaded.known.of(t.Context(), path); err != nil || again != r {
		t.Errorf("of = %p, %v; want the remembered %p", again, err, r)
	}
	edit(t, path, func(text []byte) { text[len(text)-1] ^= 1 })
	old := age(t, path)
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(old) {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), s); !errors.Is(err, ErrPolicy) {
		t.Errorf("Check after a change that hides its time = %v, want ErrPolicy", err)
	}
}

func TestPolicySharesTheWork(t *testing.T) {
	f := newPolicy(t, allSigned)
	p := f.load(t)
	path := signedSIF(t, f.key, definition("a"), primary(squash(8<<20, 1)))
	s := Subject{References: []string{path}, Path: path}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if i%4 == 0 {
				// One who gives up takes nobody along, and gets no answer.
				if err := p.Check(cancelled, s); err == nil || errors.Is(err, ErrPolicy) {
					t.Errorf("Check, cancelled = %v", err)
				}
				return
			}
			if err := p.Check(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
