package registry

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
)

// Auth are credentials in any of CRI's forms; the zero value is none.
type Auth struct {
	Username, Password string
	// Auth is base64 of "username:password".
	Auth string
	// IdentityToken is an OAuth2 refresh token, RegistryToken a bearer token.
	IdentityToken, RegistryToken string
	// ServerAddress, if given, must be the registry's for the rest to be sent.
	ServerAddress string
}

// String keeps credentials out of whatever prints them.
func (a Auth) String() string { return "(credentials)" }

// GoString does the same for %#v.
func (a Auth) GoString() string { return "(credentials)" }

// login is what is left of an Auth when it has been read: at most one form.
type login struct {
	user, password  string
	refresh, bearer string
}

func (l login) empty() bool { return l == login{} }

// key tells logins apart where a secret should not be.
func (l login) key() [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join([]string{l.user, l.password, l.refresh, l.bearer}, "\x00")))
}

// secrets are texts that no message may repeat.
func (l login) secrets() []string {
	encoded := ""
	if l.password != "" {
		encoded = base64.StdEncoding.EncodeToString([]byte(l.user + ":" + l.password))
	}
	return []string{l.password, l.refresh, l.bearer, encoded}
}

var errAuthForm = errors.New("credentials: auth is not base64 of username:password")

// login picks the form: tokens go before a name and password, those before the encoded form.
func (a Auth) login() (login, error) {
	switch {
	case a.RegistryToken != "":
		return login{bearer: a.RegistryToken}, nil
	case a.IdentityToken != "":
		return login{refresh: a.IdentityToken}, nil
	case a.Username != "" || a.Password != "":
		return login{user: a.Username, password: a.Password}, nil
	case a.Auth == "":
		return login{}, nil
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a.Auth))
	if err != nil {
		return login{}, errAuthForm
	}
	user, password, ok := strings.Cut(string(text), ":")
	if !ok {
		return login{}, errAuthForm
	}
	// Docker has written passwords with NULs behind them.
	return login{user: user, password: strings.Trim(password, "\x00")}, nil
}

// addressHost reads the host of "https://index.docker.io/v1/", "quay.io", "http://x:5000".
func addressHost(address string) string {
	host, _, _ := strings.Cut(withoutScheme(address), "/")
	return canonicalHost(host)
}

// canonicalHost gives Docker Hub one name, and hosts one spelling.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case hubLegacy, hubServer:
		return hub
	default:
		return host
	}
}
