package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/siflet/siflet/runtime/sif"
)

// SigningKey makes signatures: the secret half of a PGP key, or a private key.
type SigningKey struct {
	pgp     *Key
	private crypto.Signer
}

// PGPSigner signs with an unlocked secret key.
func PGPSigner(k *Key) (SigningKey, error) {
	switch {
	case k.entity == nil || k.entity.PrivateKey == nil:
		return SigningKey{}, fmt.Errorf("key %s has no secret half here", k.ID)
	case k.Locked():
		return SigningKey{}, fmt.Errorf("key %s is locked with a passphrase", k.ID)
	}
	return SigningKey{pgp: k}, k.alive(time.Now())
}

// PEMSigner reads a private key in PEM: PKCS #8, PKCS #1, SEC 1 or as cosign
// writes it. passphrase is asked only if the key is encrypted.
func PEMSigner(text []byte, passphrase func() ([]byte, error)) (SigningKey, error) {
	if len(text) > maxKeyFile {
		return SigningKey{}, fmt.Errorf("%d bytes are more than a private key has", len(text))
	}
	var key crypto.PrivateKey
	err := guarded("private key", func() (err error) {
		key, err = cryptoutils.UnmarshalPEMToPrivateKey(text, func(bool) ([]byte, error) { return passphrase() })
		return err
	})
	if err != nil {
		return SigningKey{}, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return SigningKey{}, fmt.Errorf("a private key of type %T doesn't sign", key)
	}
	if _, err := publicKey(signer.Public()); err != nil {
		return SigningKey{}, err
	}
	return SigningKey{private: signer}, nil
}

// ID is the signing key's.
func (k SigningKey) ID() string {
	if k.pgp != nil {
		return k.pgp.ID
	}
	public, err := publicKey(k.private.Public())
	if err != nil {
		return ""
	}
	return public.ID
}

// SignOptions says what to sign: the groups and objects named, or every group.
type SignOptions struct{ Groups, Objects []uint32 }

// Sign adds signatures to a SIF file, one for each group of objects, as
// Singularity and Apptainer do.
//
// It writes in place, after what is there, so that signing 20 GB writes a few
// kilobytes and the file stays the one that hard links and containers know.
// Killed at any point it leaves a valid file, signed or not: the signature's
// data is on disk before its descriptor, and that before the one byte which makes
// it count. Two processes must not sign one file at a time.
func Sign(ctx context.Context, path string, key SigningKey, o SignOptions) error {
	if err := sign(ctx, path, key, o); err != nil {
		return fmt.Errorf("sign %s: %w", path, unwrapPath(err))
	}
	return nil
}

func sign(ctx context.Context, path string, key SigningKey, o SignOptions) (err error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, sif.ErrNotSIF)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c, size, err := reread(f)
	if err != nil {
		return err
	}
	batches, err := c.batches(o)
	if err != nil {
		return err
	}
	if int64(len(batches)) > c.free() {
		return fmt.Errorf("its descriptor table is full (%d of %d): there is no room for %d signatures",
			c.slots()-c.free(), c.slots(), len(batches))
	}
	var texts [][]byte
	for _, b := range batches {
		text, err := c.signBatch(ctx, b, key)
		if err != nil {
			return err
		}
		texts = append(texts, text)
	}
	// It has taken a while; nobody must have written meanwhile.
	if now, nowSize, err := reread(f); err != nil || nowSize != size || !bytes.Equal(now.table, c.table) {
		return errors.Join(err, errMoved)
	}
	for i, text := range texts {
		if err := addSignature(f, batches[i][0].Group, text, key); err != nil {
			return err
		}
	}
	return nil
}

func reread(f *os.File) (*container, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	c, err := readContainer(f, info.Size())
	return c, info.Size(), err
}

// batches are the objects that one signature each is made for.
func (c *container) batches(o SignOptions) ([][]object, error) {
	groups := map[uint32][]object{}
	all := len(o.Groups) == 0 && len(o.Objects) == 0
	for _, x := range c.objects {
		if all || slices.Contains(o.Groups, x.Group) || slices.Contains(o.Objects, x.ID) {
			if x.Group == 0 {
				return nil, fmt.Errorf("object %d is in no group, and can't be signed", x.ID)
			}
			groups[x.Group] = append(groups[x.Group], x)
		}
	}
	for _, id := range o.Objects {
		if _, ok := c.object(id); !ok {
			return nil, fmt.Errorf("object %d: there is none", id)
		}
	}
	for _, id := range o.Groups {
		if len(groups[id]) == 0 {
			return nil, fmt.Errorf("group %d: there is none", id)
		}
	}
	if len(groups) == 0 {
		return nil, errors.New("there is nothing in it to sign")
	}
	var batches [][]object
	for _, b := range groups {
		slices.SortFunc(b, func(x, y object) int { return int(x.ID) - int(y.ID) })
		batches = append(batches, b)
	}
	slices.SortFunc(batches, func(x, y []object) int { return int(x[0].Group) - int(y[0].Group) })
	return batches, nil
}

// signBatch hashes the objects of one group and makes the signature's text.
func (c *container) signBatch(ctx context.Context, batch []object, key SigningKey) ([]byte, error) {
	wanted := map[dataID][]uint32{}
	for _, x := range batch {
		wanted[newDataID(crypto.SHA256, x.ID)] = []uint32{x.ID}
	}
	sums, err := c.hashData(ctx, wanted)
	if err != nil {
		return nil, err
	}
	m := metadata{Version: 1}
	m.Header.Digest = newDigest(c.headIntegrity())
	lowest := c.lowest[batch[0].Group]
	for _, x := range batch {
		m.Objects = append(m.Objects, signedObject{
			RelativeID: x.ID - lowest, Descriptor: newDigest(x.integrity(lowest)),
			Object: digest{crypto.SHA256, sums[newDataID(crypto.SHA256, x.ID)]},
		})
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return key.seal(text)
}

func newDigest(text []byte) digest {
	w := crypto.SHA256.New()
	w.Write(text)
	return digest{crypto.SHA256, w.Sum(nil)}
}

// seal signs a message: clear-signed by PGP, else in a DSSE envelope.
func (k SigningKey) seal(message []byte) ([]byte, error) {
	if k.pgp == nil {
		return k.envelope(message)
	}
	signing, ok := k.pgp.entity.SigningKey(time.Now())
	if !ok || signing.PrivateKey == nil {
		return nil, fmt.Errorf("key %s can't sign", k.pgp.ID)
	}
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, signing.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256})
	if err != nil {
		return nil, err
	}
	_, err = w.Write(message)
	err = errors.Join(err, w.Close()) // writes the signature
	return out.Bytes(), err
}

func (k SigningKey) envelope(message []byte) ([]byte, error) {
	signed := preAuth(metadataType, message)
	hash := crypto.SHA256
	if _, ok := k.private.(ed25519.PrivateKey); ok {
		hash = 0
	} else {
		w := hash.New()
		w.Write(signed)
		signed = w.Sum(nil)
	}
	raw, err := k.private.Sign(rand.Reader, signed, hash)
	if err != nil {
		return nil, err
	}
	e := envelope{PayloadType: metadataType, Payload: base64.StdEncoding.EncodeToString(message)}
	e.Signatures = []envelopeSignature{{Sig: base64.StdEncoding.EncodeToString(raw)}}
	return json.Marshal(e)
}

// fingerprint is what goes into the signature's descriptor.
func (k SigningKey) fingerprint() ([]byte, error) {
	if k.pgp == nil {
		return nil, nil
	}
	raw, err := hex.DecodeString(k.pgp.ID)
	if err != nil || len(raw) != 20 {
		return nil, fmt.Errorf("key %s: its fingerprint has no place in a SIF file; use a version 4 key", k.pgp.ID)
	}
	return raw, nil
}
