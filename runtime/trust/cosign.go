package trust

import (
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxAttached = 256
	maxPayload  = 4 << 20

	simpleSigning = "cosign container image signature"
	bundlePrefix  = "application/vnd.dev.sigstore.bundle"
	statementType = "application/vnd.in-toto+json"
	// signPredicate makes a statement a signature. Statements of other kinds
	// describe an image, "it has these flaws" for one, and don't approve of it.
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
)

// cosignScheme is how cosign signs: SHA-256, or what fits the curve; RSA is
// PKCS #1 v1.5 unless a key service decides otherwise.
func cosignScheme() scheme {
	return scheme{hashes: []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, pss: true}
}

// attachedBy says why none of the signatures attached in a registry is the key's,
// if none is. It needs no network: what transparency logs and certificate
// authorities say of a signature is not looked at, and a signature that only they
// can vouch for, without a key, is nobody's.
func (s *Subject) attachedBy(k *Key) error {
	if len(s.Signatures) == 0 {
		return ErrUnsigned
	}
	if len(s.Signatures) > maxAttached {
		return fmt.Errorf("%d signatures are more than are looked at (%d)", len(s.Signatures), maxAttached)
	}
	fault := fmt.Errorf("%w: of %d signatures in the registry, none is by %s", ErrUnknownKey, len(s.Signatures), k)
	if k.public == nil {
		return fault
	}
	for i := range s.Signatures {
		about, err := s.Signatures[i].about(k.public)
		switch {
		case errors.Is(err, errForeign):
		case err != nil:
			fault = fmt.Errorf("%w by %s: %w", ErrBadSignature, k, err)
		case slices.ContainsFunc(about, func(d string) bool { return slices.Contains(s.Manifests, d) }):
			return nil
		default:
			fault = fmt.Errorf("%w: %s signed %s", ErrChanged, k, printable(strings.Join(about, ", ")))
		}
	}
	return fault
}

// errForeign says that another key made the signature.
var errForeign = errors.New("not this key's")

// about lists the digests that the key has signed.
func (s *Signature) about(key crypto.PublicKey) ([]string, error) {
	if len(s.Payload) > maxPayload || len(s.Bundle) > maxPayload {
		return nil, errForeign
	}
	if len(s.Bundle) > 0 && len(s.Payload) == 0 {
		return bundled(s.Bundle, key)
	}
	raw, err := unbase64(s.Signature)
	if err != nil || !cosignScheme().verify(key, s.Payload, raw) {
		return nil, errForeign
	}
	var p struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(s.Payload, &p); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if p.Critical.Type != simpleSigning {
		return nil, fmt.Errorf("payload: type is %.100q; want %q", p.Critical.Type, simpleSigning)
	}
	return []string{p.Critical.Image.Digest}, nil
}

// bundled lists what is signed with the key in a sigstore bundle.
func bundled(text []byte, key crypto.PublicKey) ([]string, error) {
	var b struct {
		MediaType string `json:"mediaType"`
		Message   *struct {
			Digest struct {
				Algorithm string `json:"algorithm"`
				Digest    []byte `json:"digest"`
			} `json:"messageDigest"`
			Signature []byte `json:"signature"`
		} `json:"messageSignature"`
		Envelope *envelope `json:"dsseEnvelope"`
	}
	if json.Unmarshal(text, &b) != nil || !strings.HasPrefix(b.MediaType, bundlePrefix) {
		return nil, errForeign
	}
	switch {
	case b.Envelope != nil:
		return statementOf(*b.Envelope, key)
	case b.Message != nil:
		// The message is a manifest, of which only the digest is here: enough for
		// keys that sign digests, as all but Ed25519 do.
		m := b.Message
		if m.Digest.Algorithm != "SHA2_256" || len(m.Digest.Digest) != crypto.SHA256.Size() ||
			!cosignScheme().verifySum(key, crypto.SHA256, m.Digest.Digest, m.Signature) {
			return nil, errForeign
		}
		return []string{"sha256:" + hex.EncodeToString(m.Digest.Digest)}, nil
	default:
		return nil, errForeign
	}
}

// statementOf lists the subjects of an in-toto statement that is a signature.
func statementOf(e envelope, key crypto.PublicKey) ([]string, error) {
	if e.PayloadType != statementType {
		return nil, errForeign
	}
	with := opener{keys: []*Key{{public: key}}}
	all := with.opened(e, cosignScheme())
	i := slices.IndexFunc(all, func(s statement) bool { return s.key != nil })
	if i < 0 {
		return nil, errForeign
	}
	var st struct {
		Predicate string `json:"predicateType"`
		Subject   []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(all[i].message, &st); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	if st.Predicate != signPredicate {
		return nil, errForeign // an attestation
	}
	var digests []string
	for _, s := range st.Subject {
		for name, digits := range s.Digest {
			digests = append(digests, name+":"+digits)
		}
	}
	slices.Sort(digests)
	return digests, nil
}
