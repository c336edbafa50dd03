package trust

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// Kind says what a key is.
type Kind string

// The kinds of key.
const (
	PGP  Kind = "pgp"  // an OpenPGP key
	PEM  Kind = "pem"  // a bare public key
	X509 Kind = "x509" // a certificate
)

const (
	maxKeyFile = 4 << 20
	maxKeys    = 1000
	minRSABits = 2048
)

// Key is somebody's public key or, if it is Secret, also the private half.
type Key struct {
	// ID is the fingerprint of a PGP key, in upper case as gpg shows it; of the
	// others it is the SHA-256 of the SubjectPublicKeyInfo in lower-case hex.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Name and Email are as the key claims them, for a certificate the subject.
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	// Algorithm is "rsa4096", "ecdsa-P-256", "ed25519" or the like.
	Algorithm string `json:"algorithm,omitempty"`
	// NotBefore and NotAfter bound the key's life; zero is no bound.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Secret    bool      `json:"secret,omitempty"`

	entity *openpgp.Entity
	public crypto.PublicKey
	cert   *x509.Certificate
}

// Is says whether id names the key. Case, spaces, colons and a leading 0x or
// sha256: don't matter; the whole of it does.
func (k *Key) Is(id string) bool { return plainID(k.ID) == plainID(id) }

// String is how a person knows the key: "Name <mail> (ID)".
func (k *Key) String() string {
	if who := k.owner(); who != "" {
		return who + " (" + k.ID + ")"
	}
	return k.ID
}

func (k *Key) owner() string {
	if k.Email != "" {
		return strings.TrimSpace(k.Name + " <" + k.Email + ">")
	}
	return k.Name
}

// alive says why the key can't be used at a time, if so.
func (k *Key) alive(now time.Time) error {
	switch {
	case !k.NotBefore.IsZero() && now.Before(k.NotBefore):
		return fmt.Errorf("key %s is not valid before %s", k.ID, k.NotBefore.UTC().Format(time.RFC3339))
	case !k.NotAfter.IsZero() && now.After(k.NotAfter):
		return fmt.Errorf("key %s expired on %s", k.ID, k.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func plainID(id string) string {
	id = strings.ToLower(strings.TrimSpace(id))
	for _, prefix := range []string{"0x", "sha256:"} {
		id = strings.TrimPrefix(id, prefix)
	}
	return strings.NewReplacer(" ", "", ":", "").Replace(id)
}

// ParseKeys reads every key in a file: PGP keys, armored or not, public keys
// and certificates in PEM. Private keys in PEM are refused: they are given when
// something is signed, and kept by nobody here.
func ParseKeys(data []byte) (keys []*Key, err error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%d bytes are more than a file of keys may have (%d)", len(data), maxKeyFile)
	}
	err = guarded("keys", func() error {
		keys, err = parseKeys(data)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, errors.New("no PGP key, no PEM public key and no certificate in it")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("%d keys are more than a file may have (%d)", len(keys), maxKeys)
	}
	return keys, nil
}

// parseKeys may panic where a library does.
func parseKeys(data []byte) ([]*Key, error) {
	if len(data) > 0 && data[0]&0x80 != 0 {
		return pgpKeys(bytes.NewReader(data))
	}
	keys, err := armoredKeys(data)
	if err != nil {
		return nil, err
	}
	for rest := data; len(keys) <= maxKeys; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := pemKey(block)
		if err != nil {
			return nil, err
		}
		if key != nil {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func pemKey(block *pem.Block) (*Key, error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return publicKey(public)
	case "RSA PUBLIC KEY":
		public, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		return publicKey(public)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		key, err := publicKey(cert.PublicKey)
		if err != nil {
			return nil, err
		}
		key.Kind, key.cert, key.Name = X509, cert, printable(cert.Subject.String())
		key.NotBefore, key.NotAfter = cert.NotBefore, cert.NotAfter
		return key, nil
	default:
		if strings.Contains(block.Type, "PRIVATE KEY") && !strings.HasPrefix(block.Type, "PGP") {
			return nil, errors.New("a private key in PEM; want the public one")
		}
		return nil, nil //nolint:nilnil // parameters and the like are no keys and no mistake
	}
}

func publicKey(public crypto.PublicKey) (*Key, error) {
	key := &Key{Kind: PEM, public: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits; want %d at least", p.N.BitLen(), minRSABits)
		}
		key.Algorithm = fmt.Sprintf("rsa%d", p.N.BitLen())
	case *ecdsa.PublicKey:
		key.Algorithm = "ecdsa-" + p.Params().Name
	case ed25519.PublicKey:
		key.Algorithm = "ed25519"
	default:
		return nil, fmt.Errorf("a public key of type %T; want RSA, ECDSA or Ed25519", public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	key.ID = hex.EncodeToString(sum[:])
	return key, nil
}

// guarded runs what reads hostile input with a library that may panic on it.
func guarded(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %w: %v", what, errMalformed, r)
		}
	}()
	return f()
}

var errMalformed = errors.New("malformed")

// printable makes text from a stranger safe to show on a terminal.
func printable(text string) string {
	const enough = 256
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, text)
	if len(text) > enough {
		text = strings.ToValidUTF8(text[:enough], "") + "…"
	}
	return text
}

// unique drops the second and later copies of a key, the public ones first.
func unique(keys []*Key) []*Key {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b *Key) int {
		return cmp.Or(strings.Compare(plainID(a.ID), plainID(b.ID)), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return slices.CompactFunc(keys, func(a, b *Key) bool { return a.Is(b.ID) && a.Kind == b.Kind })
}

func (k *Key) publicPEM() ([]byte, error) {
	if k.cert != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.cert.Raw}), nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
