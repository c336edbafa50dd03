package trust

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// statement is a signed message: what was said, and by whom.
type statement struct {
	message []byte
	// key made the signature; nil if it is none of ours.
	key *Key
	// claimed is the ID of the key by the signature's own words.
	claimed string
	when    time.Time
	// err says why a signature by key is no good.
	err error
}

var errNoSignature = errors.New("not a signature in a known format")

// opener opens signed messages with the keys it has.
type opener struct{ keys []*Key }

// clearsigned opens a PGP clear-signed message.
func (o opener) clearsigned(block *clearsign.Block) statement {
	raw, err := io.ReadAll(io.LimitReader(block.ArmoredSignature.Body, maxSignature))
	if err != nil {
		return statement{err: fmt.Errorf("PGP armor: %w", err)}
	}
	s := statement{message: block.Plaintext, claimed: issuer(raw)}
	known := o.withID(s.claimed)
	s.err = guarded("PGP signature", func() error {
		signature, signer, err := openpgp.VerifyDetachedSignatureAndHash(
			entities(o.keys), bytes.NewReader(block.Bytes), bytes.NewReader(raw),
			[]crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512}, nil,
		)
		if signature != nil {
			s.when = signature.CreationTime
		}
		if signer != nil {
			known = o.withID(fingerprint(signer.PrimaryKey.Fingerprint))
		}
		return err
	})
	s.key = known
	return s
}

// issuer is whose the first signature packet says that it is.
func issuer(raw []byte) (id string) {
	_ = guarded("PGP signature", func() error {
		p, err := packet.Read(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		if s, ok := p.(*packet.Signature); ok {
			switch {
			case s.IssuerFingerprint != nil:
				id = fingerprint(s.IssuerFingerprint)
			case s.IssuerKeyId != nil:
				id = fmt.Sprintf("%016X", *s.IssuerKeyId)
			}
		}
		return nil
	})
	return id
}

// withID finds the PGP key that has the fingerprint or short ID, or a subkey
// with it.
func (o opener) withID(id string) *Key {
	same := func(k *packet.PublicKey) bool {
		return id != "" && (fingerprint(k.Fingerprint) == id || fmt.Sprintf("%016X", k.KeyId) == id)
	}
	for _, k := range o.keys {
		if k.entity == nil {
			continue
		}
		if same(k.entity.PrimaryKey) {
			return k
		}
		for _, sub := range k.entity.Subkeys {
			if same(sub.PublicKey) {
				return k
			}
		}
	}
	return nil
}

// envelope is a DSSE envelope.
type envelope struct {
	PayloadType string              `json:"payloadType"`
	Payload     string              `json:"payload"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// parseEnvelope says whether data is an envelope with a payload of that type.
func parseEnvelope(data []byte, payloadType string) (envelope, bool) {
	var e envelope
	err := json.Unmarshal(data, &e)
	return e, err == nil && e.PayloadType == payloadType
}

// opened gives a statement for every signature of the envelope.
func (o opener) opened(e envelope, check scheme) []statement {
	message, err := unbase64(e.Payload)
	if err != nil {
		return []statement{{err: fmt.Errorf("DSSE payload: %w", err)}}
	}
	signed := preAuth(e.PayloadType, message)
	var all []statement
	for _, s := range e.Signatures[:min(len(e.Signatures), maxEnvelopeSignatures)] {
		st := statement{message: message, claimed: printable(s.KeyID)}
		raw, err := unbase64(s.Sig)
		if err != nil {
			st.err = fmt.Errorf("DSSE signature: %w", err)
		} else {
			st.key = o.signer(raw, signed, check)
		}
		all = append(all, st)
	}
	return all
}

// signer finds the key that made a bare signature. Of a key that is there more
// than once, as a certificate that has expired and bare, one that is alive.
func (o opener) signer(signature, message []byte, check scheme) *Key {
	var found *Key
	now := time.Now()
	for _, k := range o.keys {
		if k.public == nil || found != nil && found.ID != k.ID || !check.verify(k.public, message, signature) {
			continue
		}
		if k.alive(now) == nil {
			return k
		}
		found = k
	}
	return found
}

// preAuth is what a DSSE signature is made over.
func preAuth(payloadType string, payload []byte) []byte {
	text := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " "
	return append([]byte(text), payload...)
}

// unbase64 takes the standard and the URL alphabet, as DSSE wants.
func unbase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return base64.URLEncoding.DecodeString(text)
	}
	return raw, nil
}
