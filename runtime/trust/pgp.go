package trust

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// armoredKeys reads every armored PGP block of the text.
func armoredKeys(data []byte) ([]*Key, error) {
	const begin = "-----BEGIN PGP "
	var keys []*Key
	for len(keys) <= maxKeys {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			break
		}
		data = data[i:]
		block, err := armor.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("PGP armor: %w", err)
		}
		if block.Type == openpgp.PublicKeyType || block.Type == openpgp.PrivateKeyType {
			more, err := pgpKeys(block.Body)
			if err != nil {
				return nil, err
			}
			keys = append(keys, more...)
		}
		data = data[len(begin):]
	}
	return keys, nil
}

func pgpKeys(r io.Reader) ([]*Key, error) {
	entities, err := openpgp.ReadKeyRing(r)
	if err != nil {
		return nil, fmt.Errorf("PGP keys: %w", err)
	}
	if len(entities) > maxKeys {
		return nil, fmt.Errorf("%d keys are more than a file may have (%d)", len(entities), maxKeys)
	}
	var keys []*Key
	for _, e := range entities {
		keys = append(keys, pgpKey(e))
	}
	return keys, nil
}

func pgpKey(e *openpgp.Entity) *Key {
	key := &Key{
		ID: fingerprint(e.PrimaryKey.Fingerprint), Kind: PGP, entity: e,
		NotBefore: e.PrimaryKey.CreationTime, Secret: e.PrivateKey != nil,
	}
	key.Algorithm = pgpAlgorithm(e.PrimaryKey)
	signature, id := e.PrimarySelfSignature()
	if id != nil && id.UserId != nil {
		key.Name, key.Email = printable(id.UserId.Name), printable(id.UserId.Email)
		if key.Name == "" && key.Email == "" {
			key.Name = printable(id.Name)
		}
	}
	if signature != nil && signature.KeyLifetimeSecs != nil && *signature.KeyLifetimeSecs != 0 {
		key.NotAfter = key.NotBefore.Add(time.Duration(*signature.KeyLifetimeSecs) * time.Second)
	}
	return key
}

// pgpAlgorithm names a key's algorithm as those of keys in PEM are named.
func pgpAlgorithm(key *packet.PublicKey) string {
	if curve, err := key.Curve(); err == nil {
		return curveAlgorithm(curve)
	}
	name := "pgp"
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		name = "rsa"
	case packet.PubKeyAlgoDSA:
		name = "dsa"
	default:
	}
	bits, err := key.BitLength()
	if err != nil {
		return name
	}
	return fmt.Sprintf("%s%d", name, bits)
}

// curveAlgorithm is what signs on a curve.
func curveAlgorithm(curve packet.Curve) string {
	switch curve {
	case packet.Curve25519:
		return "ed25519"
	case packet.Curve448:
		return "ed448"
	case packet.CurveNistP256, packet.CurveNistP384, packet.CurveNistP521:
		return "ecdsa-P-" + strings.TrimPrefix(string(curve), "P")
	default:
		return "ecdsa-" + string(curve)
	}
}

func fingerprint(raw []byte) string { return strings.ToUpper(hex.EncodeToString(raw)) }

// entities are the PGP keys of a list as the library wants them.
func entities(keys []*Key) openpgp.EntityList {
	var list openpgp.EntityList
	for _, k := range keys {
		if k.entity != nil {
			list = append(list, k.entity)
		}
	}
	return list
}

// NewPair makes a PGP key that signs. An empty passphrase leaves the secret half
// unprotected.
func NewPair(name, comment, email, passphrase string) (*Key, error) {
	if strings.ContainsAny(name+comment+email, "()<>\x00\n\r") {
		return nil, errors.New("name, comment and mail address must not contain ()<> or line breaks")
	}
	// What Singularity and Apptainer make and read everywhere.
	config := &packet.Config{RSABits: 4096, Algorithm: packet.PubKeyAlgoRSA}
	e, err := openpgp.NewEntity(name, comment, email, config)
	if err != nil {
		return nil, err
	}
	key := pgpKey(e)
	if passphrase == "" {
		return key, nil
	}
	if err := e.EncryptPrivateKeys([]byte(passphrase), config); err != nil {
		return nil, err
	}
	return key, nil
}

// Locked says whether the secret half needs a passphrase.
func (k *Key) Locked() bool {
	return k.entity != nil && k.entity.PrivateKey != nil && k.entity.PrivateKey.Encrypted
}

// Unlock opens the secret half.
func (k *Key) Unlock(passphrase string) error {
	if !k.Locked() {
		return nil
	}
	return guarded("key "+k.ID, func() error {
		if err := k.entity.DecryptPrivateKeys([]byte(passphrase)); err != nil {
			return fmt.Errorf("key %s: wrong passphrase: %w", k.ID, err)
		}
		return nil
	})
}

// Public is the armored or PEM form of the public half.
func (k *Key) Public() ([]byte, error) {
	if k.entity == nil {
		return k.publicPEM()
	}
	return armored(openpgp.PublicKeyType, k.entity.Serialize)
}

// Private is the armored form of a secret PGP key, as locked as it is.
func (k *Key) Private() ([]byte, error) {
	if k.entity == nil || k.entity.PrivateKey == nil {
		return nil, fmt.Errorf("key %s has no secret half here", k.ID)
	}
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return k.entity.SerializePrivateWithoutSigning(w, nil)
	})
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
