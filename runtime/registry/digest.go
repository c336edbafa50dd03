package registry

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// hasher returns nil for an algorithm that is none of ours.
func hasher(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	default:
		return nil
	}
}

// parseHash reads a digest that checkDigest finds nothing wrong with.
func parseHash(digest string) (v1.Hash, bool) {
	if checkDigest(digest) != "" {
		return v1.Hash{}, false
	}
	algorithm, sum, _ := strings.Cut(digest, ":")
	return v1.Hash{Algorithm: algorithm, Hex: sum}, true
}

func hashOf(algorithm string, content []byte) v1.Hash {
	h := hasher(algorithm)
	if h == nil {
		return v1.Hash{}
	}
	_, _ = h.Write(content)
	return v1.Hash{Algorithm: algorithm, Hex: hex.EncodeToString(h.Sum(nil))}
}
