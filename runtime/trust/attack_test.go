package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	refsif "github.com/sylabs/sif/v2/pkg/sif"

	"github.com/siflet/siflet/runtime/sif"
)

// addObject adds an object with the tools that everybody has.
func addObject(tb testing.TB, path string, kind refsif.DataType, data []byte, o ...refsif.DescriptorInputOpt) {
	tb.Helper()
	f, err := refsif.LoadContainerFromPath(path)
	if err != nil {
		tb.Fatal(err)
	}
	in, err := refsif.NewDescriptorInput(kind, bytes.NewReader(data), o...)
	if err == nil {
		err = f.AddObject(in)
	}
	if err := errors.Join(err, f.UnloadContainer()); err != nil {
		tb.Fatal(err)
	}
}

func refOverlay(group uint32) []refsif.DescriptorInputOpt {
	return []refsif.DescriptorInputOpt{
		refsif.OptPartitionMetadata(refsif.FsSquash, refsif.PartOverlay, "amd64"), refsif.OptGroupID(group),
	}
}

// TestPolicyRefusesWhatWasNotWhollySigned plays an attacker who has a signed
// file and every tool, but not the key.
func TestPolicyRefusesWhatWasNotWhollySigned(t *testing.T) {
	le := binary.LittleEndian
	f := newPolicy(t, allSigned)
	mallory := SigningKey{private: signers(t)["RSA"]}
	ours := func() string {
		return signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)), overlay(squash(5000, 2)), overlay(squash(5000, 3)))
	}
	edited := func(change func(text []byte)) string {
		path := ours()
		edit(t, path, change)
		return path
	}
	evil := squash(9000, 9)
	for name, path := range map[string]string{
		"unsigned":          create(t, sif.Options{Objects: []sif.Object{primary(evil)}}),
		"signed by mallory": signedSIF(t, mallory, definition("a"), primary(evil)),
		"overlay added": func() string {
			path := ours()
			addObject(t, path, refsif.DataPartition, evil, refOverlay(1)...)
			return path
		}(),
		"overlay added in a group of its own": func() string {
			path := ours()
			addObject(t, path, refsif.DataPartition, evil, refOverlay(2)...)
			return path
		}(),
		"overlay added and signed by mallory": func() string {
			path := ours()
			addObject(t, path, refsif.DataPartition, evil, refOverlay(2)...)
			if err := Sign(t.Context(), path, mallory, SignOptions{Groups: []uint32{2}}); err != nil {
				t.Fatal(err)
			}
			return path
		}(),
		"config added in no group": func() string {
			path := ours()
			addObject(t, path, refsif.DataGenericJSON, []byte("{}"), refsif.OptObjectName("oci-config.json"), refsif.OptNoGroup())
			return path
		}(),
		"only the definition signed": func() string {
			path := create(t, sif.Options{Objects: []sif.Object{definition("a"), primary(evil)}})
			if err := Sign(t.Context(), path, f.key, SignOptions{Objects: []uint32{1}}); err != nil {
				t.Fatal(err)
			}
			return path
		}(),
		"overlays in another order": edited(func(text []byte) {
			third, fourth := slot(text, 3), slot(text, 4)
			kept := bytes.Clone(third)
			copy(third, fourth)
			copy(fourth, kept)
		}),
		"overlay's data exchanged": edited(func(text []byte) {
			third, fourth := slot(text, 3)[17:25], slot(text, 4)[17:25]
			kept := bytes.Clone(third)
			copy(third, fourth)
			copy(fourth, kept)
		}),
		"primary and overlay exchanged": edited(func(text []byte) {
			le.PutUint32(slot(text, 2)[205:], uint32(sif.PartOverlay))
			le.PutUint32(slot(text, 3)[205:], uint32(sif.PartPrimary))
		}),
		"definition exchanged": edited(func(text []byte) { text[le.Uint64(slot(text, 1)[17:])] ^= 1 }),
		"partition dropped":    edited(func(text []byte) { slot(text, 4)[4] = 0 }),
		"signature dropped":    edited(func(text []byte) { slot(text, 5)[4] = 0 }),
		"signature re-linked":  edited(func(text []byte) { le.PutUint32(slot(text, 5)[13:], groupBits|2) }),
		"re-pointed": func() string {
			path := ours()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			le.PutUint64(slot(text, 2)[17:], uint64(len(text)))
			return writeFile(t, path, append(text, evil...))
		}(),
	} {
		err := f.load(t).Check(t.Context(), Subject{References: []string{path}, Path: path})
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: Check = %v, want ErrPolicy", name, err)
		}
	}
}

// TestPolicyRefusesPartsOfSeveralImages: files without a UUID have one header, so
// groups that were signed in different files would fit together.
func TestPolicyRefusesPartsOfSeveralImages(t *testing.T) {
	f := newPolicy(t, allSigned)
	for name, c := range map[string]struct {
		deterministic bool
		want          error
	}{"anonymous": {true, ErrPolicy}, "with a UUID": {false, nil}} {
		path := create(t, sif.Options{Deterministic: c.deterministic, Objects: []sif.Object{definition("a"), primary(squash(9000, 1))}})
		mustSign(t, path, f.key)
		addObject(t, path, refsif.DataPartition, squash(9000, 2), refOverlay(2)...)
		if err := Sign(t.Context(), path, f.key, SignOptions{Groups: []uint32{2}}); err != nil {
			t.Fatal(err)
		}
		if err := f.load(t).Check(t.Context(), Subject{References: []string{path}, Path: path}); !errors.Is(err, c.want) {
			t.Errorf("%s: Check = %v, want %v", name, err, c.want)
		}
		if _, err := Verify(t.Context(), path, []*Key{keyOf(t, f.key.private)}, VerifyOptions{}); err != nil {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
}

// TestPolicyRefusesOverlaysOfSeveralGroups: IDs are signed relative to their
// group's, so that those of two groups can be exchanged.
func TestPolicyRefusesOverlaysOfSeveralGroups(t *testing.T) {
	f := newPolicy(t, allSigned)
	path := signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)))
	for group := uint32(2); group <= 3; group++ {
		addObject(t, path, refsif.DataPartition, squash(5000, byte(group)), refOverlay(group)...)
		if err := Sign(t.Context(), path, f.key, SignOptions{Groups: []uint32{group}}); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, path, func(text []byte) {
		second, third := slot(text, 4), slot(text, 6)
		kept := bytes.Clone(second)
		copy(second, third)
		copy(third, kept)
		binary.LittleEndian.PutUint32(second[5:], 4)
		binary.LittleEndian.PutUint32(third[5:], 6)
	})
	if err := f.load(t).Check(t.Context(), Subject{References: []string{path}, Path: path}); !errors.Is(err, ErrPolicy) {
		t.Errorf("Check = %v, want ErrPolicy", err)
	}
}

// TestPolicyRefusesSignaturesThatLeaveOutData: one of our keys' owners must not be
// able to stop the node either.
func TestPolicyRefusesSignaturesThatLeaveOutData(t *testing.T) {
	f := newPolicy(t, allSigned)
	path := create(t, sif.Options{Objects: []sif.Object{primary(squash(9000, 1))}})
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, _, err := reread(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(text []byte) string {
		s := sha256.Sum256(text)
		return "sha256:" + hex.EncodeToString(s[:])
	}
	message := `{"version":1,"header":{"digest":"` + sum(c.headIntegrity()) + `"},"objects":[{"relativeId":0,"descriptorDigest":"` + sum(c.objects[0].integrity(1)) + `"}]}`
	raw := rawSign(t, f.key.private, crypto.SHA256, preAuth(metadataType, []byte(message)))
	text, err := json.Marshal(envelope{metadataType, base64.StdEncoding.EncodeToString([]byte(message)), []envelopeSignature{{Sig: base64.StdEncoding.EncodeToString(raw)}}})
	if err != nil {
		t.Fatal(err)
	}
	addObject(t, path, refsif.DataSignature, text, refsif.OptNoGroup(), refsif.OptLinkedGroupID(1), refsif.OptSignatureMetadata(crypto.SHA256, make([]byte, 20)))
	if err := f.load(t).Check(t.Context(), Subject{References: []string{path}, Path: path}); !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), "nothing of the data") {
		t.Errorf("Check = %v, want ErrPolicy", err)
	}
}

// TestPolicyRefusesLegacySignatures: they say nothing of what an object is for.
func TestPolicyRefusesLegacySignatures(t *testing.T) {
	keys := moduleKeys(t, "private.asc")
	pub, err := keys[0].Public()
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "k.asc"), pub)
	p := newPolicy(t, "[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\""+file+"\"]\n").load(t)
	for image, want := range map[string]error{
		"one-group-signed-pgp.sif":    nil,
		"one-group-signed-legacy.sif": ErrPolicy, "one-group-signed-legacy-all.sif": ErrPolicy, "one-group-signed-legacy-group.sif": ErrPolicy,
	} {
		path := moduleFile(t, "images/"+image)
		if err := p.Check(t.Context(), Subject{References: []string{path}, Path: path}); !errors.Is(err, want) {
			t.Errorf("%s: Check = %v, want %v", image, err, want)
		}
	}
}

func TestVerifyRefusesFilesThatPanicReaders(t *testing.T) {
	le := binary.LittleEndian
	for name, change := range map[string]func(text []byte){
		"negative descriptor count": func(text []byte) { le.PutUint64(text[88:], 1<<63) },
		"huge descriptor count":     func(text []byte) { le.PutUint64(text[88:], 1<<40) },
		"table outside":             func(text []byte) { le.PutUint64(text[96:], 1<<50) },
		"huge signature":            func(text []byte) { le.PutUint64(slot(text, 3)[25:], 1<<60) },
		"negative offset":           func(text []byte) { le.PutUint64(slot(text, 3)[17:], 1<<63) },
	} {
		path := copyFile(t, moduleFile(t, "images/one-group-signed-pgp.sif"))
		edit(t, path, change)
		if _, err := Verify(t.Context(), path, allModuleKeys(t), VerifyOptions{}); !errors.Is(err, sif.ErrCorrupt) {
			t.Errorf("%s: Verify = %v, want ErrCorrupt", name, err)
		}
	}
}

func TestVerifyBoundsSignatures(t *testing.T) {
	path := create(t, sif.Options{Objects: []sif.Object{
		primary(squash(9000, 1)), {Type: sif.TypeSignature, Data: strings.NewReader(strings.Repeat(" ", maxSignature+1))},
	}})
	if _, err := Verify(t.Context(), path, nil, VerifyOptions{}); err == nil || !strings.Contains(err.Error(), "signature object 2") {
		t.Errorf("Verify = %v, want a bound", err)
	}
}

func TestExpiredKeysApproveNothing(t *testing.T) {
	f := newPolicy(t, allSigned)
	path := signedSIF(t, f.key, definition("a"), primary(squash(9000, 1)))
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	k := keyOf(t, f.key.private)
	r, err := examine(t.Context(), file, []*Key{k})
	if err != nil {
		t.Fatal(err)
	}
	now := k.NotBefore.AddDate(2026, 1, 1)
	if err := r.approved(k, now); err != nil {
		t.Errorf("approved = %v", err)
	}
	k.NotAfter = now.AddDate(0, 0, -1)
	if err := r.approved(k, now); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("approved by an expired key = %v", err)
	}
}
