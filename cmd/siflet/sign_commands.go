package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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
			ctx, stop := toldToStop(cmd.Context())
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

// asker asks a person at a terminal, or reads lines of whatever else is there.
type asker struct {
	in    io.Reader
	lines *bufio.Reader
	w     io.Writer
}

func newAsker(in io.Reader, w io.Writer) *asker {
	return &asker{in: in, lines: bufio.NewReader(in), w: w}
}

// errNoAnswer says that there was nobody, or nothing, to answer.
var errNoAnswer = errors.New("nothing was entered, and standard input is what is asked: a terminal, or lines with the answers")

// terminal says that a person can answer.
func (a *asker) terminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// text asks for what is not known yet.
func (a *asker) text(prompt string, value *string) error {
	if *value != "" {
		return nil
	}
	if a.terminal() {
		_, _ = fmt.Fprintf(a.w, "%s: ", prompt)
	}
	line, err := a.lines.ReadString('\n')
	*value = strings.TrimSpace(line)
	switch {
	case *value != "":
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", strings.ToLower(prompt), err)
	default:
		return fmt.Errorf("%s: %w", strings.ToLower(prompt), errNoAnswer)
	}
}

func (a *asker) passphrase(prompt string) (string, error) {
	if a.terminal() {
		_, _ = fmt.Fprintf(a.w, "%s: ", prompt)
		text, err := term.ReadPassword(int(a.in.(*os.File).Fd())) //nolint:forcetypeassert // it is a terminal
		_, _ = fmt.Fprintln(a.w)
		return string(text), err
	}
	line, err := a.lines.ReadString('\n')
	if errors.Is(err, io.EOF) && line == "" {
		return "", fmt.Errorf("%s: %w", prompt, errNoAnswer)
	}
	if err != nil && line == "" {
		return "", fmt.Errorf("read the passphrase from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (a *asker) newPassphrase() (string, error) {
	first, err := a.passphrase("Passphrase for the new key")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", errors.New("an empty passphrase protects nothing; say --no-passphrase if you mean it")
	}
	second, err := a.passphrase("The same again")
	if err == nil && first != second {
		err = errors.New("the passphrases differ")
	}
	return first, err
}
