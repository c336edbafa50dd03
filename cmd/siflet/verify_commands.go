package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/trust"
)

// verifyOptions say with what, and what of the file, to verify.
type verifyOptions struct {
	key, certificate     string
	roots, intermediates string
	all, legacy, asJSON  bool
	group, object        uint32
}

func (w *workshop) verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use: "verify FILE", Short: "verify the signatures of a SIF file",
		Long: "Verify the signatures of a SIF file, as Singularity and Apptainer make them: with the keys that siflet key list shows,\n" +
			"with a public key, or with a certificate. The exit status is 0 only if all of the file is signed with them and unchanged.",
		Args: exactly(1, "want a SIF file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := toldToStop(cmd.Context())
			defer stop()
			return w.verify(ctx, cmd.OutOrStdout(), args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.key, "key", "", "verify with the public keys in this file")
	flags.StringVar(&o.certificate, "certificate", "", "verify with the certificate in this PEM file")
	flags.StringVar(&o.roots, "certificate-roots", "", "certificate authorities to trust, a PEM file; else the system's")
	flags.StringVar(&o.roots, "ca-certificates", "", "the same as --certificate-roots")
	flags.StringVar(&o.intermediates, "certificate-intermediates", "", "certificates between them and the certificate, a PEM file")
	flags.BoolVarP(&o.all, "all", "a", false, "every signature must verify; with --legacy-insecure, every object must be signed")
	flags.BoolVar(&o.legacy, "legacy-insecure", false, "look at signatures as Singularity made them before 3.6, which cover the data alone")
	flags.BoolVarP(&o.asJSON, "json", "j", false, "as JSON")
	flags.Uint32VarP(&o.group, "group-id", "g", 0, "verify the objects of one group")
	flags.Uint32VarP(&o.object, "sif-id", "i", 0, "verify one object")
	flags.BoolP("local", "l", false, "")
	_ = flags.MarkHidden("local") // there is no other way
	cmd.MarkFlagsMutuallyExclusive("key", "certificate")
	cmd.MarkFlagsMutuallyExclusive("group-id", "sif-id")
	return cmd
}

func (w *workshop) verify(ctx context.Context, out io.Writer, path string, o verifyOptions) error {
	keys, err := o.keys(w.stderr)
	if err != nil {
		return err
	}
	what := trust.VerifyOptions{All: o.all, Legacy: o.legacy}
	if o.group != 0 {
		what.Groups = []uint32{o.group}
	}
	if o.object != 0 {
		what.Objects = []uint32{o.object}
	}
	signers, failure := trust.Verify(ctx, path, keys, what)
	if o.asJSON {
		err = writeSigners(out, signers, failure)
	} else {
		err = showSigners(out, path, signers)
	}
	if failure != nil {
		return failure
	}
	if err != nil {
		return err
	}
	if !o.asJSON {
		info(w.stderr, "Verified signature(s) from image '%s'", path)
	}
	return nil
}

// keys are those that a signature may be made with.
func (o *verifyOptions) keys(stderr io.Writer) ([]*trust.Key, error) {
	switch {
	case o.key != "":
		info(stderr, "Verifying image with key material from '%s'", o.key)
		keys, err := readKeys(nil, o.key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.key, unwrapPath(err))
		}
		return keys, nil
	case o.certificate != "":
		info(stderr, "Verifying image with key material from certificate '%s'", o.certificate)
		key, err := o.chain()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.certificate, unwrapPath(err))
		}
		return []*trust.Key{key}, nil
	case o.roots != "" || o.intermediates != "":
		return nil, errors.New("certificate authorities without a certificate; name it with --certificate")
	}
	keys, err := knownKeys()
	if err == nil && len(keys) == 0 {
		warn(stderr, "You have no keys to verify with; add some with: siflet key import")
	}
	return keys, err
}

func (o *verifyOptions) chain() (*trust.Key, error) {
	text, err := readSmall(nil, o.certificate)
	if err != nil {
		return nil, err
	}
	var c trust.Certificates
	for path, into := range map[string]*[]byte{o.roots: &c.Roots, o.intermediates: &c.Intermediates} {
		if path == "" {
			continue
		}
		if *into, err = readSmall(nil, path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return trust.CertificateKey(text, c)
}

// showSigners writes who signed what, as Singularity does.
func showSigners(out io.Writer, path string, signers []trust.Signer) error {
	if len(signers) == 0 {
		return nil
	}
	f, err := sif.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	for _, s := range signers {
		_, err := fmt.Fprintf(out, "Signing entity: %s\nFingerprint: %s\n", owner(s.Key), s.Key.ID)
		if err == nil && !s.Time.IsZero() {
			_, err = fmt.Fprintf(out, "Signed: %s\n", s.Time.UTC().Format("2006-01-02 15:04:05 MST"))
		}
		if err != nil {
			return err
		}
		rows := [][]string{{"ID", "GROUP", "TYPE", "NAME"}}
		for _, d := range f.Descriptors {
			if slices.Contains(s.Objects, d.ID) {
				rows = append(rows, []string{id(d.ID), id(d.Group), d.Type.String(), d.Name})
			}
		}
		if err := table(out, rows); err != nil {
			return err
		}
	}
	return nil
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// verifiedKey is one signature of `verify --json`; the names are Singularity's.
type verifiedKey struct {
	Signer struct {
		Partition, Name, Fingerprint  string
		KeyLocal, KeyCheck, DataCheck bool
		Objects                       []uint32
	}
}

func writeSigners(out io.Writer, signers []trust.Signer, failure error) error {
	result := struct {
		Verified   bool
		Error      string `json:",omitempty"`
		Signatures int
		SignerKeys []verifiedKey
	}{Verified: failure == nil, Signatures: len(signers), SignerKeys: []verifiedKey{}}
	if failure != nil {
		result.Error = failure.Error()
	}
	for _, s := range signers {
		var v verifiedKey
		v.Signer.Name, v.Signer.Fingerprint, v.Signer.Objects = owner(s.Key), s.Key.ID, s.Objects
		v.Signer.KeyLocal, v.Signer.KeyCheck, v.Signer.DataCheck = true, true, true
		for _, o := range s.Objects {
			if v.Signer.Partition != "" {
				v.Signer.Partition += ","
			}
			v.Signer.Partition += id(o)
		}
		result.SignerKeys = append(result.SignerKeys, v)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "\t")
	return encoder.Encode(result)
}
