package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const secretDir = "secret"

// Keyring is a directory of public keys, PGP or PEM. Secret PGP keys are in its
// directory "secret", which only its owner may read.
//
// What is imported is written as ID.asc or ID.pem, one key to a file. Files that
// somebody else put there may hold several.
type Keyring struct{ Dir string }

// Public lists the public keys of several keyrings, each key once. A file that
// can't be read as keys is an error.
func Public(rings ...Keyring) ([]*Key, error) {
	var keys []*Key
	for _, r := range rings {
		more, err := readKeys(r.Dir)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return unique(keys), nil
}

// Secret lists the secret keys.
func (r Keyring) Secret() ([]*Key, error) {
	keys, err := readKeys(filepath.Join(r.Dir, secretDir))
	return slices.DeleteFunc(unique(keys), func(k *Key) bool { return !k.Secret }), err
}

func readKeys(dir string) ([]*Key, error) {
	paths, err := keyPaths(dir)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	for _, path := range paths {
		more, err := readKeyFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, unwrapPath(err))
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func readKeyFile(path string) ([]*Key, error) {
	text, err := readTrusted(path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	return ParseKeys(text)
}

// keyPaths lists the files of public keys in a directory. A directory that is not
// there has none.
func keyPaths(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// Import keeps keys, the secret halves apart. A key that is there already is
// replaced by what comes now, which may carry a later expiry or a revocation.
func (r Keyring) Import(keys []*Key) error {
	for _, k := range keys {
		text, err := k.Public()
		if err != nil {
			return err
		}
		if err := keep(r.path(k), text, 0o755, 0o644); err != nil {
			return err
		}
		if !k.Secret {
			continue
		}
		if text, err = k.Private(); err != nil {
			return err
		}
		if err := keep(r.secretPath(k), text, 0o700, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r Keyring) path(k *Key) string {
	if k.Kind == PGP {
		return filepath.Join(r.Dir, k.ID+".asc")
	}
	return filepath.Join(r.Dir, k.ID+".pem")
}

func (r Keyring) secretPath(k *Key) string { return filepath.Join(r.Dir, secretDir, k.ID+".asc") }

// keep writes a file whole or not at all.
func keep(path string, text []byte, dirMode, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Remove forgets a key and its secret half. One that is not there is an error:
// whoever mistypes a fingerprint must not think that it is gone.
func (r Keyring) Remove(id string) error {
	found := false
	for _, dir := range []string{r.Dir, filepath.Join(r.Dir, secretDir)} {
		paths, err := keyPaths(dir)
		if err != nil {
			return err
		}
		for _, path := range paths {
			keys, err := readKeyFile(path)
			if err != nil || !slices.ContainsFunc(keys, func(k *Key) bool { return k.Is(id) }) {
				continue
			}
			if len(unique(keys)) > 1 {
				return fmt.Errorf("%s: the key is one of %d in this file; remove it there", path, len(keys))
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no key in %s has the fingerprint %s", r.Dir, id)
	}
	return nil
}

// Certificates says how a certificate's chain is checked.
type Certificates struct {
	// Roots and Intermediates are PEM files' text; without Roots the system's
	// roots are used.
	Roots, Intermediates []byte
	// Now is when the chain must be valid; the zero value is the present. A signature
	// in a SIF file doesn't say when it was made in a way that could be believed.
	Now time.Time
}

// CertificateKey reads a certificate and checks that it may sign code and that
// its chain leads to a root.
func CertificateKey(text []byte, c Certificates) (*Key, error) {
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 || keys[0].cert == nil {
		return nil, errors.New("want exactly one certificate")
	}
	o := x509.VerifyOptions{
		CurrentTime: c.Now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, Intermediates: x509.NewCertPool(),
	}
	if c.Roots != nil {
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(c.Roots) {
			return nil, errors.New("no root certificate in the file of roots")
		}
	}
	if c.Intermediates != nil && !o.Intermediates.AppendCertsFromPEM(c.Intermediates) {
		return nil, errors.New("no certificate in the file of intermediates")
	}
	if _, err := keys[0].cert.Verify(o); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", keys[0], err)
	}
	return keys[0], nil
}
