package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime/trust"
)

// systemKeys are everybody's keys, which root keeps; policies name keys of theirs.
const systemKeys = "/etc/siflet/keys"

// personalKeys are the keys of the person who calls.
func personalKeys() (trust.Keyring, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return trust.Keyring{}, fmt.Errorf("find the directory of your keys: %w; set HOME", err)
	}
	return trust.Keyring{Dir: filepath.Join(dir, "siflet", "keys")}, nil
}

func keyring(system bool) (trust.Keyring, error) {
	if system {
		return trust.Keyring{Dir: systemKeys}, nil
	}
	return personalKeys()
}

// knownKeys are all public keys that the person who calls goes by.
func knownKeys() ([]*trust.Key, error) {
	own, err := personalKeys()
	if err != nil {
		return nil, err
	}
	return trust.Public(own, trust.Keyring{Dir: systemKeys})
}

func (w *workshop) keyCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "key", Short: "manage the keys that sign and verify images", Long: "Manage the keys that sign and verify images: PGP keys, public keys in PEM and X.509 certificates.\nYour own are in ~/.config/siflet/keys; everybody's, with --system, in " + systemKeys + "."},
		w.keyImportCommand(), w.keyListCommand(), w.keyRemoveCommand(), w.keyExportCommand(), w.keyNewpairCommand(),
	)
}

func systemFlag(cmd *cobra.Command, system *bool) {
	cmd.Flags().BoolVar(system, "system", false, "the keys in "+systemKeys+", which everybody goes by")
}

func (w *workshop) keyImportCommand() *cobra.Command {
	var system bool
	cmd := &cobra.Command{
		Use: "import FILE...", Short: "keep the keys in files; - is standard input",
		Args: atLeast(1, "want a file with keys"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ring, err := keyring(system)
			if err != nil {
				return err
			}
			for _, path := range args {
				keys, err := readKeys(cmd.InOrStdin(), path)
				if err != nil {
					return fmt.Errorf("import %s: %w", path, unwrapPath(err))
				}
				if err := ring.Import(keys); err != nil {
					return fmt.Errorf("import %s: %w", path, err)
				}
				for _, k := range keys {
					info(w.stderr, "Imported %s", k)
				}
			}
			return nil
		},
	}
	systemFlag(cmd, &system)
	return cmd
}

// readKeys reads the keys in a file, which may be standard input.
func readKeys(stdin io.Reader, path string) ([]*trust.Key, error) {
	text, err := readSmall(stdin, path)
	if err != nil {
		return nil, err
	}
	return trust.ParseKeys(text)
}

// readSmall reads a file that is no longer than keys are.
func readSmall(stdin io.Reader, path string) ([]byte, error) {
	const enough = 5 << 20
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // read only
		r = f
	}
	return io.ReadAll(io.LimitReader(r, enough))
}

func (w *workshop) keyListCommand() *cobra.Command {
	var asJSON, secret bool
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the keys that images are verified with", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := knownRings()
			if err != nil {
				return err
			}
			keys, err := all.list(secret)
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "\t")
				return encoder.Encode(map[string]any{"keys": keys})
			}
			rows := [][]string{{"FINGERPRINT", "KIND", "ALGORITHM", "EXPIRES", "WHOSE", "OWNER"}}
			for _, k := range keys {
				expires := "never"
				if !k.NotAfter.IsZero() {
					expires = k.NotAfter.UTC().Format(time.DateOnly)
				}
				rows = append(rows, []string{k.ID, string(k.Kind), k.Algorithm, expires, k.whose(), owner(k.Key)})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
	cmd.Flags().BoolVarP(&asJSON, "json", "j", false, "as JSON")
	cmd.Flags().BoolVarP(&secret, "secret", "s", false, "the keys that you can sign with instead")
	return cmd
}

func owner(k *trust.Key) string {
	if k.Email != "" {
		return strings.TrimSpace(k.Name + " <" + k.Email + ">")
	}
	return k.Name
}

func (w *workshop) keyRemoveCommand() *cobra.Command {
	var what removal
	cmd := &cobra.Command{
		Use: "remove FINGERPRINT...", Aliases: []string{"rm"}, Short: "forget keys; with --secret their secret halves too",
		Args: atLeast(1, "want a fingerprint"),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := knownRings()
			if err != nil {
				return err
			}
			broken := w.trust().Err()
			if err := all.remove(w.stderr, args, what); err != nil {
				return err
			}
			if now := w.trust().Err(); broken == nil && now != nil {
				warn(w.stderr, "the policy names what was removed, so no image may be pulled or started now: %v", now)
			}
			return nil
		},
	}
	systemFlag(cmd, &what.system)
	cmd.Flags().BoolVarP(&what.secret, "secret", "s", false, "remove the secret halves too, which can't be had again")
	return cmd
}

func (w *workshop) keyExportCommand() *cobra.Command {
	var secret bool
	cmd := &cobra.Command{
		Use: "export FINGERPRINT", Short: "write a key to standard output",
		Args: exactly(1, "want a fingerprint"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := knownKeys()
			write := (*trust.Key).Public
			if secret && err == nil {
				write = (*trust.Key).Private
				var own trust.Keyring
				if own, err = personalKeys(); err == nil {
					keys, err = own.Secret()
				}
			}
			if err != nil {
				return err
			}
			for _, k := range keys {
				if !k.Is(args[0]) {
					continue
				}
				text, err := write(k)
				if err == nil {
					_, err = cmd.OutOrStdout().Write(text)
				}
				return err
			}
			return fmt.Errorf("no key has the fingerprint %s; see: siflet key list", args[0])
		},
	}
	cmd.Flags().BoolVarP(&secret, "secret", "s", false, "the secret half, as locked as it is")
	return cmd
}

func (w *workshop) keyNewpairCommand() *cobra.Command {
	var name, email, comment string
	var open bool
	cmd := &cobra.Command{
		Use: "newpair", Short: "make a PGP key to sign images with", Args: exactly(0, "want no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ask := newAsker(cmd.InOrStdin(), w.stderr)
			passphrase := ""
			err := ask.text("Your name", &name)
			if err == nil {
				err = ask.text("Your mail address", &email)
			}
			if err == nil && !open {
				passphrase, err = ask.newPassphrase()
			}
			if errors.Is(err, errNoAnswer) && !ask.terminal() {
				return errors.New("a new key needs a name, a mail address and a passphrase, and there is no terminal to ask for them: " +
					"give --name, --email, and either --no-passphrase or the passphrase as two lines of standard input")
			}
			if err != nil {
				return err
			}
			ring, err := personalKeys()
			if err != nil {
				return err
			}
			k, err := trust.NewPair(name, comment, email, passphrase)
			if err != nil {
				return err
			}
			if err := ring.Import([]*trust.Key{k}); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), k.ID)
			return err
		},
	}
	cmd.Flags().StringVarP(&name, "name", "N", "", "your name")
	cmd.Flags().StringVarP(&email, "email", "E", "", "your mail address")
	cmd.Flags().StringVarP(&comment, "comment", "C", "", "what the key is for")
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "leave the secret half unprotected")
	return cmd
}
