package guides_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// mirrorHost is a name that the certificate of test servers is for.
const mirrorHost = "mirror.example.com"

// mirror is the registry of a network that has no other: it has a certificate of its own
// authority, in /root/mirror-ca.crt, and what somebody copied from Docker Hub.
func (w *world) mirror(t *testing.T) {
	t.Helper()
	server := registrytest.Start(w.t, registrytest.Options{Listen: "127.0.0.1:443", TLS: true})
	hosts, err := os.ReadFile("/etc/hosts")
	if err == nil {
		kept, _, _ := strings.Cut(string(hosts), "127.0.0.1 "+mirrorHost)
		err = os.WriteFile("/etc/hosts", []byte(kept+"127.0.0.1 "+mirrorHost+"\n"), 0o644)
	}
	if err := errors.Join(err, os.WriteFile("/root/mirror-ca.crt", server.CA, 0o644)); err != nil {
		t.Fatal(err)
	}
	image := registrytest.Image(t, v1.Config{Cmd: []string{"/bin/web"}},
		registrytest.Layer(t, registrytest.Gzip, registrytest.Dir("bin/"), registrytest.File("bin/web", "not really")))
	server.Push(t, "library/nginx:1.27", image)
	server.Push(t, "quay.io/team/app:1", image)
}
