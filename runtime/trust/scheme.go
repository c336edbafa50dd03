package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that signatures name
	_ "crypto/sha512"
)

// scheme is how a bare signature is made: which hashes may have been used, and
// whether RSA may be padded in either way.
type scheme struct {
	hashes []crypto.Hash
	pss    bool
}

func (s scheme) verify(public crypto.PublicKey, message, signature []byte) bool {
	if key, ok := public.(ed25519.PublicKey); ok {
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature)
	}
	for _, h := range s.hashes {
		if !h.Available() {
			continue
		}
		w := h.New()
		w.Write(message)
		if s.verifySum(public, h, w.Sum(nil), signature) {
			return true
		}
	}
	return false
}

// verifySum verifies a signature of what hashes to sum.
func (s scheme) verifySum(public crypto.PublicKey, h crypto.Hash, sum, signature []byte) bool {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, sum, signature)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, h, sum, signature) == nil ||
			s.pss && rsa.VerifyPSS(key, h, sum, signature, nil) == nil
	default:
		return false
	}
}
