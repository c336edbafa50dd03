package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// issue makes a certificate for a key of its own; by nil, itself.
func issue(tb testing.TB, by *authority, t x509.Certificate) *authority {
	tb.Helper()
	key := newKey(tb)
	parent, signer := &t, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	t.SerialNumber, t.BasicConstraintsValid = big.NewInt(1), true
	der, err := x509.CreateCertificate(rand.Reader, &t, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func TestCertificates(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	names := func(cn string, ca bool, usage ...x509.ExtKeyUsage) x509.Certificate {
		c := x509.Certificate{
			Subject: pkix.Name{CommonName: cn}, NotBefore: start, NotAfter: start.AddDate(1, 0, 0), IsCA: ca, ExtKeyUsage: usage,
		}
		if ca {
			c.KeyUsage = x509.KeyUsageCertSign
		}
		return c
	}
	root := issue(t, nil, names("root", true))
	middle := issue(t, root, names("middle", true))
	leaf := issue(t, middle, names("release", false, x509.ExtKeyUsageCodeSigning))
	server := issue(t, middle, names("server", false, x509.ExtKeyUsageServerAuth))
	other := issue(t, nil, names("other", true))
	june := start.AddDate(0, 6, 0)
	for name, c := range map[string]struct {
		cert *authority
		c    Certificates
		want string
	}{
		"good":            {leaf, Certificates{Roots: root.pem, Intermediates: middle.pem, Now: june}, ""},
		"no intermediate": {leaf, Certificates{Roots: root.pem, Now: june}, "unknown authority"},
		"another root":    {leaf, Certificates{Roots: other.pem, Intermediates: middle.pem, Now: june}, "unknown authority"},
		"system's roots":  {leaf, Certificates{Intermediates: middle.pem, Now: june}, "unknown authority"},
		"expired":         {leaf, Certificates{Roots: root.pem, Intermediates: middle.pem, Now: start.AddDate(2, 0, 0)}, "expired"},
		"not for code":    {server, Certificates{Roots: root.pem, Intermediates: middle.pem, Now: june}, "incompatible key usage"},
		"no roots":        {leaf, Certificates{Roots: []byte("x")}, "no root certificate"},
	} {
		k, err := CertificateKey(c.cert.pem, c.c)
		if c.want == "" && (err != nil || k.Kind != X509 || k.Name != "CN=release") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, %v; want %q", name, k, err, c.want)
		}
	}
}

func TestVerifyWithACertificateNamesItsSubject(t *testing.T) {
	now := time.Now()
	cert := issue(t, nil, x509.Certificate{
		Subject: pkix.Name{CommonName: "release"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	k, err := CertificateKey(cert.pem, Certificates{Roots: cert.pem})
	if err != nil {
		t.Fatal(err)
	}
	path := signedSIF(t, SigningKey{private: cert.key}, definition("b"), primary(squash(9000, 1)))
	signers, err := Verify(t.Context(), path, []*Key{k}, VerifyOptions{})
	if err != nil || len(signers) != 1 || signers[0].Key.Name != "CN=release" {
		t.Errorf("Verify = %+v, %v", signers, err)
	}
}

func TestVerifyRefusesAnExpiredCertificate(t *testing.T) {
	now := time.Now()
	cert := issue(t, nil, x509.Certificate{
		Subject: pkix.Name{CommonName: "release"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour), IsCA: true,
	})
	keys, err := ParseKeys(cert.pem)
	if err != nil {
		t.Fatal(err)
	}
	path := signedSIF(t, SigningKey{private: cert.key}, definition("b"), primary(squash(9000, 1)))
	if _, err := Verify(t.Context(), path, keys, VerifyOptions{}); !errors.Is(err, ErrBadSignature) {
		t.Errorf("Verify = %v, want ErrBadSignature", err)
	}
	// The same key without a certificate is a key all the same.
	if _, err := Verify(t.Context(), path, append(keys, keyOf(t, cert.key)), VerifyOptions{}); err != nil {
		t.Errorf("Verify = %v", err)
	}
}
