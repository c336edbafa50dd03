package registrytest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/crypto/bcrypt"

	client "github.com/siflet/siflet/runtime/registry"
)

// DebianServer is Debian's docker-registry with TLS and basic authentication.
type DebianServer struct {
	// Pusher puts content there, with the credentials.
	Pusher
	// Host is what its images' names begin with.
	Host string
	// CA is the certificate to trust, PEM.
	CA []byte
	// Auth are the credentials.
	Auth client.Auth
}

// Debian starts Debian's docker-registry on a free loopback port. The test is skipped
// where it is not installed.
func Debian(tb testing.TB) *DebianServer {
	tb.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		tb.Skip("needs the program docker-registry: apt-get install docker-registry")
	}
	dir := tb.TempDir()
	certificate, key := SelfSigned(tb)
	host := freePort(tb)
	s := &DebianServer{Host: host, CA: certificate, Auth: client.Auth{Username: "ann", Password: "correct horse"}}
	hash, err := bcrypt.GenerateFromPassword([]byte(s.Auth.Password), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	config := write("config.yml", fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, tls: {certificate: %q, key: %q}}
auth: {htpasswd: {realm: test, path: %q}}
`, filepath.Join(dir, "data"), host, write("cert.pem", string(certificate)), write("key.pem", string(key)),
		write("htpasswd", s.Auth.Username+":"+string(hash)+"\n")))

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	s.Pusher = Pusher{
		host: host, auth: &authn.Basic{Username: s.Auth.Username, Password: s.Auth.Password},
		transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
	s.run(tb, exec.CommandContext(context.Background(), program, "serve", config))
	return s
}

// run starts the program and waits until it answers; it ends with the test.
func (s *DebianServer) run(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	said, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	lines, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		text, _ := io.ReadAll(io.LimitReader(said, 1<<20))
		lines <- string(text)
		_, _ = io.Copy(io.Discard, said)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait() // it was killed
	})
	// There is no event to wait for but the port.
	const patience = 20 * time.Second
	deadline, tick := time.After(patience), time.NewTicker(20*time.Millisecond) //nolint:mnd // short
	defer tick.Stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", s.Host); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case text := <-lines:
			tb.Fatalf("docker-registry ended:\n%s", text)
		case <-deadline:
			tb.Fatal("docker-registry does not listen")
		case <-tick.C:
		}
	}
}

// Certs makes a directory in the hosts.toml layout that trusts the server.
func (s *DebianServer) Certs(tb testing.TB) string {
	tb.Helper()
	return certs(tb, s.Host, s.CA)
}

// Client is a client that trusts the server; the credentials are not its own.
func (s *DebianServer) Client(tb testing.TB, keychain client.Keychain) *client.Client {
	tb.Helper()
	return testClient(s.Certs(tb), keychain)
}

// Ref is the reference of "repo:tag" or "repo@digest" there.
func (s *DebianServer) Ref(name string) client.Reference { return reference(s.Host, name) }

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// SelfSigned makes a certificate, with its key, for loopback addresses and for clients,
// PEM. It is its own authority.
func SelfSigned(tb testing.TB) (certificate, key []byte) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}
