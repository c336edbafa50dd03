package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall" //nolint:depguard // the name of a signal; no system call

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/trust"
)

// signOptions say with what, and what of the file, to sign.
type signOptions struct {
	key, fingerprint string
	index            int
	group, object    uint32
}

func (w *workshop) signCommand() *cobra.Command {
	o := signOptions{index: -1}
	cmd := &cobra.Command{
		Use: "sign FILE", Short: "sign a SIF file, as Singularity and Apptainer do",
		Long: "Sign a SIF file, as Singularity and Apptainer do: with a PGP key of yours, or with a private key in PEM.\n" +
			"The signature is added to the file in place. A passphrase is asked for at the terminal, or read from standard input.",
		Args: exactly(1, "want a SIF file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return w.sign(ctx, newAsker(cmd.InOrStdin(), w.stderr), args[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.key, "key", "", "sign with the private key in this PEM file")
	flags.StringVar(&o.fingerprint, "fingerprint", "", "sign with the PGP key of this fingerprint")
	flags.IntVarP(&o.index, "keyidx", "k", -1, "sign with the PGP key of this position in: siflet key list --secret (first: 0)")
	flags.Uint32VarP(&o.group, "group-id", "g", 0, "sign the objects of one group")
	flags.Uint32VarP(&o.object, "sif-id", "i", 0, "sign one object")
	cmd.MarkFlagsMutuallyExclusive("key", "fingerprint", "keyidx")
	cmd.MarkFlagsMutuallyExclusive("group-id", "sif-id")
	return cmd
}

func (w *workshop) sign(ctx context.Context, ask *asker, path string, o signOptions) error {
	key, err := o.load(ask)
	if err != nil {
		return err
	}
	var what trust.SignOptions
	if o.group != 0 {
		what.Groups = []uint32{o.group}
	}
	if o.object != 0 {
		what.Objects = []uint32{o.object}
	}
	if err := trust.Sign(ctx, path, key, what); err != nil {
		return err
	}
	info(w.stderr, "Signature created and applied to image '%s' (key %s)", path, key.ID())
	return nil
}

// load finds the key and unlocks it.
func (o *signOptions) load(ask *asker) (trust.SigningKey, error) {
	if o.key != "" {
		text, err := readSmall(nil, o.key)
		if err != nil {
			return trust.SigningKey{}, err
		}
		key, err := trust.PEMSigner(text, func() ([]byte, error) {
			text, err := ask.passphrase("Passphrase of " + o.key)
			return []byte(text), err
		})
		if err != nil {
			err = fmt.Errorf("%s: %w", o.key, err)
		}
		return key, err
	}
	ring, err := personalKeys()
	if err != nil {
		return trust.SigningKey{}, err
	}
	keys, err := ring.Secret()
	if err != nil {
		return trust.SigningKey{}, err
	}
	k, err := o.choose(keys)
	if err != nil {
		return trust.SigningKey{}, err
	}
	if k.Locked() {
		passphrase, err := ask.passphrase("Passphrase of " + k.String())
		if err != nil {
			return trust.SigningKey{}, err
		}
		if err := k.Unlock(passphrase); err != nil {
			return trust.SigningKey{}, err
		}
	}
	return trust.PGPSigner(k)
}

func (o *signOptions) choose(keys []*trust.Key) (*trust.Key, error) {
	switch {
	case len(keys) == 0:
		return nil, errors.New("you have no key to sign with; make one with: siflet key newpair, or import one of gpg's: gpg --export-secret-keys | siflet key import -")
	case o.fingerprint != "":
		for _, k := range keys {
			if k.Is(o.fingerprint) {
				return k, nil
			}
		}
		return nil, fmt.Errorf("you have no secret key %s; see: siflet key list --secret", o.fingerprint)
	case o.index >= len(keys):
		return nil, fmt.Errorf("you have %d keys to sign with, no key %d; see: siflet key list --secret", len(keys), o.index)
	case o.index >= 0:
		return keys[o.index], nil
	case len(keys) > 1:
		var names []string
		for _, k := range keys {
			names = append(names, k.String())
		}
		return nil, fmt.Errorf("you have %d keys to sign with; choose one with --fingerprint: %s", len(keys), strings.Join(names, ", "))
	}
	return keys[0], nil
}
