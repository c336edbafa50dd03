package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/term"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/trust"
)

// pullSource is where one image is pulled from and who must have signed it.
type pullSource struct {
	options source.Options
	policy  *trust.Policy
}

// pullSources reads the policy and makes a client for the registry of uri.
func (w *workshop) pullSources(ctx context.Context, uri, scratch string, o pullOptions) (pullSource, error) {
	from := w.sources()
	if o.auth != "" {
		from.Auth = o.auth
	}
	if o.noHTTPS {
		dir, err := plainHTTP(uri, scratch)
		if err != nil {
			return pullSource{}, err
		}
		if dir != "" {
			from.Hosts = append([]string{dir}, from.Hosts...)
		}
	}
	policy := w.trust()
	if err := policy.Err(); err != nil {
		return pullSource{}, err
	}
	store := from.Store(w.logger(), policy)
	auth, err := w.pullAuth(ctx, o)
	if err != nil {
		return pullSource{}, err
	}
	return pullSource{
		options: source.Options{
			Registry: store.Registry, Auth: auth, Arch: o.arch, Library: o.library, Spool: o.tmp, Log: w.logger(),
		},
		policy: policy,
	}, nil
}

// plainHTTP makes a directory of settings in which the registry of uri has no
// TLS. It is empty where there is no registry.
func plainHTTP(uri, scratch string) (string, error) {
	scheme, rest, _ := source.Scheme(uri)
	if scheme != "" && scheme != "docker" && scheme != "oras" {
		return "", nil
	}
	ref, err := registry.ParseReference(strings.TrimPrefix(rest, "//"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, "hosts")
	if err := os.MkdirAll(filepath.Join(dir, ref.Host), 0o700); err != nil {
		return "", err
	}
	text := fmt.Sprintf("server = %q\n", "http://"+ref.Host)
	return dir, os.WriteFile(filepath.Join(dir, ref.Host, "hosts.toml"), []byte(text), 0o600)
}

// pullAuth are the credentials that were given, nil if there are none.
func (w *workshop) pullAuth(ctx context.Context, o pullOptions) (*registry.Auth, error) {
	if o.login {
		if err := w.askLogin(ctx, &o); err != nil {
			return nil, err
		}
	}
	switch {
	case o.username == "" && o.password == "":
		return nil, nil //nolint:nilnil // none is none
	case o.username == "" || o.password == "":
		return nil, usageError{text: "--docker-username and --docker-password belong together: give both, or --docker-login to be asked"}
	default:
		return &registry.Auth{Username: o.username, Password: o.password}, nil
	}
}

// askLogin asks a person at a terminal.
func (w *workshop) askLogin(ctx context.Context, o *pullOptions) error {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return errors.New("--docker-login asks at a terminal, and there is none; " +
			"set SIFLET_DOCKER_USERNAME and SIFLET_DOCKER_PASSWORD instead")
	}
	state, err := term.GetState(in)
	if err != nil {
		return err
	}
	type answer struct {
		username, password string
		err                error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		_, _ = fmt.Fprint(w.stderr, "Enter Docker Username: ")
		if _, a.err = fmt.Fscanln(os.Stdin, &a.username); a.err == nil {
			var secret []byte
			_, _ = fmt.Fprint(w.stderr, "Enter Docker Password: ")
			secret, a.err = term.ReadPassword(in)
			a.password = string(secret)
			_, _ = fmt.Fprintln(w.stderr)
		}
		answered <- a
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return fmt.Errorf("read the user name and password: %w", a.err)
		}
		o.username, o.password = a.username, a.password
		return nil
	case <-ctx.Done():
		// The reader goes with the process; the terminal must show again what is typed.
		return errors.Join(ctx.Err(), term.Restore(in, state))
	}
}

// check asks the policy about the image; path is where it is, if it is a SIF.
func (s pullSource) check(ctx context.Context, image *source.Image, path string) error {
	subject := trust.Subject{References: append([]string{image.Name}, image.Tags...), Path: path}
	for _, digest := range []v1.Hash{image.Top, image.Manifest} {
		if digest != (v1.Hash{}) {
			subject.Manifests = append(subject.Manifests, digest.String())
		}
	}
	if s.policy.Attached(subject.References) {
		found, err := image.Signatures(ctx)
		if err != nil {
			return fmt.Errorf("find signatures: %w", err)
		}
		for _, signature := range found {
			subject.Signatures = append(subject.Signatures, trust.Signature(signature))
		}
	}
	return s.policy.Check(ctx, subject)
}
