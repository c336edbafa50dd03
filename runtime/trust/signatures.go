package trust

import (
	"bytes"
	"context"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

const (
	// maxSignature bounds a signature object: one for 4096 objects has 1 MiB.
	maxSignature          = 2 << 20
	maxSignatures         = 256
	maxEnvelopeSignatures = 32

	metadataType = "application/vnd.sylabs.sif-metadata+json"
	legacyPrefix = "SIFHASH:\n"
)

// seal is a signature in a SIF file: one statement of one signature object.
type seal struct {
	statement

	// id is the signature object's.
	id     uint32
	kind   Kind
	legacy bool
	// linked are the objects that the signature is linked to.
	linked []uint32
	// covers are the objects that it speaks for, all of them unchanged if err is
	// nil.
	covers []uint32
	claims []claim
}

// claim is that objects, one after the other, have a digest.
type claim struct {
	data dataID
	sum  []byte
}

// seals reads the signatures of a file. Nothing is hashed yet but headers and
// descriptors.
func (c *container) seals(ctx context.Context, keys []*Key) ([]seal, error) {
	if len(c.signatures) > maxSignatures {
		return nil, fmt.Errorf("%d signatures are more than are looked at (%d)", len(c.signatures), maxSignatures)
	}
	var all []seal
	for _, o := range c.signatures {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if o.Size > maxSignature {
			return nil, fmt.Errorf("signature object %d: %d bytes are more than a signature may have (%d)", o.ID, o.Size, maxSignature)
		}
		text, err := c.file.Read(o.Descriptor)
		if err != nil {
			return nil, err
		}
		for _, s := range c.open(o, text, opener{keys}) {
			s.id = o.ID
			if s.key != nil && s.err == nil {
				s.err = c.weigh(&s, o)
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// open finds out who made a signature object.
func (c *container) open(o object, text []byte, with opener) []seal {
	linked := c.linked(o)
	if e, ok := parseEnvelope(text, metadataType); ok {
		var all []seal
		h, ok := hashOf(o)
		for _, s := range with.opened(e, scheme{hashes: []crypto.Hash{h}}) {
			if !ok {
				s.err = errors.New("hash algorithm unknown")
			}
			all = append(all, seal{statement: s, kind: PEM, linked: linked})
		}
		return all
	}
	var block *clearsign.Block
	err := guarded("signature", func() error { block, _ = clearsign.Decode(text); return nil })
	if block == nil || err != nil {
		return []seal{{statement: statement{err: errNoSignature}, linked: linked}}
	}
	s := seal{statement: with.clearsigned(block), kind: PGP, linked: linked}
	s.legacy = bytes.HasPrefix(s.message, []byte(legacyPrefix))
	named := ""
	if raw := o.extra()[4:24]; !bytes.Equal(raw, make([]byte, len(raw))) {
		named = fingerprint(raw)
	}
	switch {
	case s.key != nil && s.err == nil && named != s.key.ID:
		s.err = fmt.Errorf("the descriptor names another key, %q", named)
	case s.key == nil && named != "":
		// The signature may have been made with a subkey.
		s.claimed = named
	}
	return []seal{s}
}

func (c *container) linked(o object) []uint32 {
	var ids []uint32
	for _, x := range c.objects {
		if o.LinkIsGroup && x.Group == o.Link && x.Group != 0 || !o.LinkIsGroup && x.ID == o.Link {
			ids = append(ids, x.ID)
		}
	}
	return ids
}

// hashOf is the hash algorithm of a signature object's descriptor.
func hashOf(o object) (crypto.Hash, bool) {
	switch binary.LittleEndian.Uint32(o.extra()) {
	case 1:
		return crypto.SHA256, true
	case 2:
		return crypto.SHA384, true
	case 3:
		return crypto.SHA512, true
	default:
		return 0, false
	}
}

// weigh compares what was signed with the file, except for the data of
// objects: that becomes claims.
func (c *container) weigh(s *seal, o object) error {
	if s.legacy {
		return c.weighLegacy(s, o)
	}
	var m metadata
	if err := json.Unmarshal(s.message, &m); err != nil {
		return fmt.Errorf("what was signed is not about a SIF file: %w", err)
	}
	if m.Version != 1 {
		return fmt.Errorf("what was signed is of version %d; want 1", m.Version)
	}
	if !o.LinkIsGroup {
		return errors.New("the signature is linked to no group")
	}
	if !m.Header.Digest.of(c.headIntegrity()) {
		return changed("header")
	}
	lowest, ok := c.lowest[o.Link]
	if !ok || o.Link == 0 || len(m.Objects) == 0 || len(m.Objects) > maxSlots {
		return changed("group of objects")
	}
	for _, signed := range m.Objects {
		id := uint64(lowest) + uint64(signed.RelativeID)
		x, ok := c.object(uint32(min(id, 1<<32-1)))
		if !ok || x.Group != o.Link {
			return fmt.Errorf("%w: object %d was signed and is gone", ErrChanged, id)
		}
		if signed.Object.hash == 0 {
			return fmt.Errorf("what was signed says nothing of the data of object %d", id)
		}
		if !signed.Descriptor.of(x.integrity(lowest)) {
			return changed(fmt.Sprintf("descriptor of object %d", id))
		}
		s.covers = append(s.covers, x.ID)
		s.claims = append(s.claims, claim{newDataID(signed.Object.hash, x.ID), signed.Object.sum})
	}
	return nil
}

// weighLegacy reads the digest of a signature as old versions made them: of the
// data alone.
func (c *container) weighLegacy(s *seal, o object) error {
	h, ok := hashOf(o)
	sum, err := hex.DecodeString(strings.TrimSpace(strings.TrimPrefix(string(s.message), legacyPrefix)))
	if !ok || err != nil || len(sum) != h.Size() || len(s.linked) == 0 {
		return errors.New("malformed legacy signature")
	}
	s.covers = s.linked
	s.claims = []claim{{newDataID(h, s.linked...), sum}}
	return nil
}

// metadata is what is signed.
type metadata struct {
	Version int `json:"version"`
	Header  struct {
		Digest digest `json:"digest"`
	} `json:"header"`
	Objects []signedObject `json:"objects"`
}

type signedObject struct {
	RelativeID uint32 `json:"relativeId"`
	Descriptor digest `json:"descriptorDigest"`
	Object     digest `json:"objectDigest"`
}

// Signer is someone who signed a SIF file, and what of it.
type Signer struct {
	Key *Key `json:"key"`
	// Time is when, by the signer's clock; zero if the signature doesn't say.
	Time time.Time `json:"time,omitzero"`
	// Legacy signatures cover the data alone, not what it is for.
	Legacy bool `json:"legacy,omitempty"`
	// Objects are the IDs of the objects that the signature covers.
	Objects []uint32 `json:"objects"`
}
