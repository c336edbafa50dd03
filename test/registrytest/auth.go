package registrytest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (s *Server) serveInstead(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// token gives out tokens to whoever has the right password or refresh token.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	scopes := r.URL.Query()["scope"]
	ok := s.o.Username == "" && s.o.RefreshToken == ""
	if user, password, given := r.BasicAuth(); given && s.o.Username != "" {
		ok = user == s.o.Username && password == s.o.Password
	}
	if r.Method == http.MethodPost {
		ok = s.o.RefreshToken != "" && r.PostFormValue("grant_type") == "refresh_token" && r.PostFormValue("refresh_token") == s.o.RefreshToken
		scopes = strings.Fields(r.PostFormValue("scope"))
	}
	if !ok {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	text := rand.Text()
	s.mu.Lock()
	for _, scope := range scopes {
		s.issued[text+" "+scope] = true
		s.issued[text+" "+strings.TrimSuffix(scope, ",push")] = true // who may do that may pull
	}
	s.issued[text] = true
	s.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"token": text, "expires_in": 300}) //nolint:mnd // seconds
}

// ExpireTokens makes all tokens so far worthless.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.issued)
}

// IssueToken makes a bearer token that is good for everything.
func (s *Server) IssueToken() string {
	text := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued[text+" *"], s.issued[text] = true, true
	return text
}

func (s *Server) authorised(w http.ResponseWriter, r *http.Request) bool {
	if s.o.Bearer {
		return s.bearer(w, r)
	}
	if s.o.Username == "" {
		return true
	}
	if user, password, _ := r.BasicAuth(); user == s.o.Username && password == s.o.Password {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

func (s *Server) bearer(w http.ResponseWriter, r *http.Request) bool {
	scope := ""
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/referrers/", "/tags/"} {
		if repository, _, ok := strings.Cut(path, part); ok {
			scope = "repository:" + repository + ":pull"
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				scope += ",push"
			}
		}
	}
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	key := text
	if scope != "" {
		key += " " + scope
	}
	s.mu.Lock()
	ok := text != "" && (s.issued[key] || s.issued[text+" *"])
	s.mu.Unlock()
	if ok {
		return true
	}
	challenge := `Bearer realm="` + s.URL + `/token",service="test"`
	if scope != "" {
		challenge += `,scope="` + scope + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

func clientTLS(tb testing.TB, ca []byte) *tls.Config {
	tb.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		tb.Fatal("the clients' authority has no certificate")
	}
	return &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
}

// Certs makes a directory in the hosts.toml layout that trusts the server.
func (s *Server) Certs(tb testing.TB) string {
	tb.Helper()
	return certs(tb, s.Host, s.CA)
}

func certs(tb testing.TB, host string, ca []byte) string {
	tb.Helper()
	root := tb.TempDir()
	if ca == nil {
		return root
	}
	Hosts(tb, root, host, "ca = \"ca.pem\"\nskip_verify = false\n")
	if err := os.WriteFile(filepath.Join(root, host, "ca.pem"), ca, 0o600); err != nil {
		tb.Fatal(err)
	}
	return root
}

// Hosts writes a hosts.toml for a host below root.
func Hosts(tb testing.TB, root, host, text string) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Join(root, host), 0o750); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, host, "hosts.toml"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}
