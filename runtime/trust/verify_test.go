package trust

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

const busybox = "../../../shared/testdata/busybox_amd64.sif"

func TestVerifyNamesTheUnknownKey(t *testing.T) {
	if _, err := os.Stat(busybox); err != nil {
		t.Skip(err)
	}
	_, err := Verify(t.Context(), busybox, allModuleKeys(t), VerifyOptions{})
	const fpr = "1137E72E6816BFC06D9CAA0D15F3F4F4F14B03B2"
	if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), fpr) {
		t.Errorf("Verify = %v, want ErrUnknownKey %s", err, fpr)
	}
}

func TestVerifyImagesOfTheReferenceImplementation(t *testing.T) {
	pgp := []string{"private.asc"}
	dsse := []string{"ecdsa-public.pem", "ed25519-public.pem", "rsa-public.pem"}
	for _, c := range []struct {
		image   string
		keys    []string
		o       VerifyOptions
		want    error
		signers int
	}{
		{image: "one-group.sif", keys: pgp, want: ErrUnsigned},
		{image: "two-groups.sif", keys: pgp, want: ErrUnsigned},
		{image: "one-group-signed-pgp.sif", keys: pgp, signers: 1},
		{image: "one-group-signed-pgp.sif", keys: dsse, want: ErrUnknownKey},
		{image: "two-groups-signed-pgp.sif", keys: pgp, signers: 2},
		{image: "two-groups-signed-pgp.sif", keys: pgp, o: VerifyOptions{Groups: []uint32{2}}, signers: 2},
		{image: "one-group-signed-dsse.sif", keys: dsse, signers: 2},
		{image: "one-group-signed-dsse.sif", keys: dsse[:2], signers: 1},
		{image: "one-group-signed-dsse.sif", keys: dsse[:1], o: VerifyOptions{All: true}, want: ErrUnknownKey},
		{image: "one-group-signed-dsse.sif", keys: pgp, want: ErrUnknownKey},
		{image: "two-groups-signed-dsse.sif", keys: dsse, signers: 4},
		{image: "one-group-signed-legacy.sif", keys: pgp, want: ErrUnsigned},
		{image: "one-group-signed-legacy.sif", keys: pgp, o: VerifyOptions{Legacy: true}, signers: 1},
		{image: "one-group-signed-legacy.sif", keys: dsse, o: VerifyOptions{Legacy: true}, want: ErrUnknownKey},
		{image: "one-group-signed-legacy.sif", keys: pgp, o: VerifyOptions{Legacy: true, All: true}, want: ErrUnsigned},
		{image: "one-group-signed-legacy-all.sif", keys: pgp, o: VerifyOptions{Legacy: true, All: true}, signers: 2},
		{image: "one-group-signed-legacy-group.sif", keys: pgp, o: VerifyOptions{Legacy: true, All: true}, signers: 1},
		{image: "two-groups-signed-legacy-all.sif", keys: pgp, o: VerifyOptions{Legacy: true, All: true}, want: ErrUnsigned},
		{image: "two-groups-signed-legacy-group.sif", keys: pgp, o: VerifyOptions{Legacy: true, All: true}, want: ErrUnsigned},
		{image: "two-groups-signed-legacy-group.sif", keys: pgp, o: VerifyOptions{Legacy: true, Groups: []uint32{1}}, signers: 1},
	} {
		signers, err := Verify(t.Context(), moduleFile(t, "images/"+c.image), moduleKeys(t, c.keys...), c.o)
		if !errors.Is(err, c.want) || c.want == nil && len(signers) != c.signers {
			t.Errorf("%s with %v, %+v: %d signers, %v; want %d, %v", c.image, c.keys, c.o, len(signers), err, c.signers, c.want)
		}
	}
}

func TestVerifySaysWhoSigned(t *testing.T) {
	signers, err := Verify(t.Context(), moduleFile(t, "images/one-group-signed-pgp.sif"), allModuleKeys(t), VerifyOptions{})
	if err != nil || len(signers) != 1 {
		t.Fatalf("Verify = %v, %v", signers, err)
	}
	s := signers[0]
	if s.Key.ID != "12045C8C0B1004D058DE4BEDA20C27EE7FF7BA84" || s.Key.Name == "" || s.Key.Email == "" || s.Time.IsZero() {
		t.Errorf("signer = %+v of %s", s, s.Key)
	}
}

func TestVerifyFindsEveryChange(t *testing.T) {
	le := binary.LittleEndian
	for name, change := range map[string]func(text []byte){
		"launch script":     func(text []byte) { text[3] ^= 1 },
		"UUID":              func(text []byte) { text[50] ^= 1 },
		"data":              func(text []byte) { text[le.Uint64(slot(text, 2)[17:])] ^= 1 },
		"partition type":    func(text []byte) { le.PutUint32(slot(text, 2)[205:], 3) },
		"architecture":      func(text []byte) { copy(slot(text, 2)[209:], "04") },
		"name":              func(text []byte) { slot(text, 1)[73] ^= 1 },
		"size":              func(text []byte) { slot(text, 2)[25]-- },
		"re-pointed":        func(text []byte) { slot(text, 2)[17] -= 16 },
		"object removed":    func(text []byte) { slot(text, 1)[4] = 0 },
		"moved to a group":  func(text []byte) { slot(text, 1)[9] = 2 },
		"out of all groups": func(text []byte) { slot(text, 1)[9] = 0 },
		"renumbered":        func(text []byte) { slot(text, 1)[5] = 40 },
		"data type":         func(text []byte) { slot(text, 1)[0] = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			path := copyFile(t, moduleFile(t, "images/one-group-signed-pgp.sif"))
			edit(t, path, change)
			if signers, err := Verify(t.Context(), path, allModuleKeys(t), VerifyOptions{}); err == nil {
				t.Errorf("Verify = %v, nil; want an error", signers)
			}
		})
	}
}

func TestVerifyStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Verify(ctx, moduleFile(t, "images/one-group-signed-pgp.sif"), allModuleKeys(t), VerifyOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v, want context.Canceled", err)
	}
}
