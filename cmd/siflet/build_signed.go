package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/definition"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/trust"
)

const fingerprintsKey = "fingerprints"

// signed makes sure that a base is signed, in full, with each of the keys that the header
// of its stage names.
func (j *job) signed(ctx context.Context, found image.Image, h definition.Header) error {
	if !mustBeSigned(h) {
		return nil
	}
	if !found.Native || found.Path == "" {
		return j.unsignable(h)
	}
	keys, err := knownKeys()
	if err != nil {
		return err
	}
	for id := range strings.SplitSeq(h.Value(fingerprintsKey), ",") {
		id = strings.TrimSpace(id)
		at := slices.IndexFunc(keys, func(k *trust.Key) bool { return k.Is(id) })
		if at < 0 {
			return j.inFingerprints(h, "you have no key %q: the whole of its fingerprint is needed; add it with siflet key import", id)
		}
		if _, err := trust.Verify(ctx, found.Path, keys[at:at+1], trust.VerifyOptions{}); err != nil {
			return fmt.Errorf("%w: %w", j.inFingerprints(h, "the base is not signed with key %s", id), err)
		}
	}
	return nil
}

// mustBeSigned says that the header has the line, even if it names nobody.
func mustBeSigned(h definition.Header) bool {
	return slices.ContainsFunc(h, func(k definition.Key) bool { return k.Name == fingerprintsKey })
}

// unsignable refuses a base that can't be signed, if it has to be.
func (j *job) unsignable(h definition.Header) error {
	if !mustBeSigned(h) {
		return nil
	}
	return j.inFingerprints(h, "the base is no SIF file, which alone can be signed: take one, or leave out this line")
}

func (j *job) inFingerprints(h definition.Header, format string, args ...any) error {
	return &definition.Error{File: j.file, Line: h.Line(fingerprintsKey), Message: fingerprintsKey + ": " + fmt.Sprintf(format, args...)}
}
