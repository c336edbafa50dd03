package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/siflet/siflet/cmd/internal/setup"
	"github.com/siflet/siflet/runtime/registry"
)

func (w *workshop) registryCommand() *cobra.Command {
	return group(
		&cobra.Command{Use: "registry", Short: "keep credentials for registries"},
		w.loginCommand(), logoutCommand(), loginListCommand(),
	)
}

func orAuthFile(file string) (string, error) {
	if file != "" {
		return file, nil
	}
	return setup.AuthFile()
}

// loginOptions are the flags of "registry login".
type loginOptions struct {
	username, password string
	stdin              bool
	file               string
}

func (w *workshop) loginCommand() *cobra.Command {
	o := loginOptions{}
	cmd := &cobra.Command{
		Use: "login HOST", Short: "check credentials with a registry and keep them",
		Long: "Check credentials with a registry and keep them for siflet: those of root are the node agent's, too.",
		Args: exactly(1, "want a registry, such as ghcr.io or docker.io"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.login(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args[0], o)
		},
	}
	cmd.Flags().StringVarP(&o.username, "username", "u", "", "user name; empty asks for it")
	cmd.Flags().StringVarP(&o.password, "password", "p", "", "password or token; others can see it: better --password-stdin")
	cmd.Flags().BoolVar(&o.stdin, "password-stdin", false, "read the password from standard input")
	registerAuthFile(cmd, &o.file)
	return cmd
}

func registerAuthFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "authfile", "", "keep credentials in FILE, in the form of Docker's config.json")
}

func (w *workshop) login(ctx context.Context, in io.Reader, out io.Writer, name string, o loginOptions) error {
	host, err := registryHost(name)
	if err != nil {
		return err
	}
	path, err := orAuthFile(o.file)
	if err != nil {
		return err
	}
	ctx, stop := toldToStop(ctx)
	defer stop()
	auth, err := w.credentials(ctx, in, host, o)
	if err != nil {
		return err
	}
	if err := w.registryClient().Ping(ctx, host, &auth); err != nil {
		if errors.Is(err, registry.ErrDenied) {
			return fmt.Errorf("%w; nothing is kept: check the user name, and whether the registry wants a token for a password", err)
		}
		return fmt.Errorf("%w; nothing is kept", err)
	}
	if err := keepLogin(path, host, auth); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Logged in to %s as %s. The credentials are in %s.\n", host, auth.Username, path)
	return err
}

// registryHost reads "ghcr.io", "https://index.docker.io/v1/", "docker://localhost:5000".
func registryHost(name string) (string, error) {
	wrong := usageError{text: fmt.Sprintf("%q is no registry; want a host such as ghcr.io", name)}
	host := strings.TrimSuffix(name, "/")
	if strings.Contains(name, "://") {
		u, err := url.Parse(name)
		if err != nil {
			return "", wrong
		}
		host = u.Host
	}
	ref, err := registry.ParseReference(host + "/a/b")
	switch {
	case err != nil || ref.Repository != "a/b":
		return "", wrong
	case ref.Host == "registry-1.docker.io":
		return "docker.io", nil
	default:
		return strings.ToLower(ref.Host), nil
	}
}

// credentials are those of the flags; what is missing is asked for at a terminal.
func (w *workshop) credentials(ctx context.Context, in io.Reader, host string, o loginOptions) (registry.Auth, error) {
	auth := registry.Auth{Username: o.username, Password: o.password}
	if o.stdin {
		if o.password != "" || o.username == "" {
			return auth, usageError{text: "--password-stdin needs --username, and no --password"}
		}
		const most = 64 << 10
		text, err := io.ReadAll(io.LimitReader(in, most))
		if err != nil {
			return auth, fmt.Errorf("read the password from standard input: %w", err)
		}
		if auth.Password = strings.TrimRight(string(text), "\r\n"); auth.Password == "" {
			return auth, usageError{text: "standard input has no password"}
		}
		return auth, nil
	}
	if auth.Username != "" && auth.Password != "" {
		return auth, nil
	}
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return auth, errors.New("there is no terminal to ask for a password at; use --username with --password-stdin")
	}
	return w.ask(ctx, file, host, auth)
}

// ask asks a person for what is missing. Ctrl-C ends it and leaves the terminal as it was.
func (w *workshop) ask(ctx context.Context, terminal *os.File, host string, given registry.Auth) (registry.Auth, error) {
	fd := int(terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return registry.Auth{}, err
	}
	type answer struct {
		auth registry.Auth
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		auth, err := w.read(terminal, host, given)
		answered <- answer{auth, err}
	}()
	select {
	case a := <-answered:
		if a.err != nil {
			return registry.Auth{}, fmt.Errorf("read the user name and password: %w", a.err)
		}
		return a.auth, nil
	case <-ctx.Done():
		// The reader goes with the process; the terminal must show again what is typed.
		return registry.Auth{}, errors.Join(ctx.Err(), term.Restore(fd, state))
	}
}

func (w *workshop) read(terminal *os.File, host string, auth registry.Auth) (registry.Auth, error) {
	if auth.Username == "" {
		_, _ = fmt.Fprintf(w.stderr, "User name at %s: ", host)
		line, err := bufio.NewReader(terminal).ReadString('\n')
		if err != nil {
			return auth, err
		}
		auth.Username = strings.TrimSpace(line)
	}
	if auth.Username != "" && auth.Password == "" {
		_, _ = fmt.Fprint(w.stderr, "Password: ")
		secret, err := term.ReadPassword(int(terminal.Fd()))
		_, _ = fmt.Fprintln(w.stderr)
		if err != nil {
			return auth, err
		}
		auth.Password = string(secret)
	}
	if auth.Username == "" || auth.Password == "" {
		return auth, errors.New("it is empty; nothing is kept")
	}
	return auth, nil
}
