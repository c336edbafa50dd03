package registry_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

// before is a listener that answers whoever begins with TLS in some way of its own, and
// leaves the others to a server.
func before(t *testing.T, s *registrytest.Server, answer string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				read := bufio.NewReader(in)
				if first, err := read.Peek(1); err != nil || first[0] == 0x16 { // a TLS record
					_, _ = io.WriteString(in, answer)
					return
				}
				out, err := net.Dial("tcp", s.Host)
				if err != nil {
					t.Error(err)
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, read) }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestLocalRegistryNeedsToKnowNothingOfTLS(t *testing.T) {
	s := registrytest.New(t)
	sample(t, s)
	for name, answer := range map[string]string{
		"HTTP": "HTTP/1.0 400 Bad Request\r\n\r\n", "a page": "<!DOCTYPE html><title>400</title>", "a greeting": "220 mail.example ready\r\n",
	} {
		port := before(t, s, answer)
		for _, host := range []string{"127.0.0.1", "LOCALHOST"} {
			ref := s.Ref("team/app:1")
			ref.Host = host + ":" + port
			if err := asked(t, ref, registry.Options{}); err != nil {
				t.Errorf("%s says to TLS %s: %v", ref.Host, name, err)
			}
		}
		if !strings.HasPrefix(answer, "HTTP") {
			elsewhere := s.Ref("team/app:1")
			elsewhere.Host = "registry.example:" + port
			n := len(s.Requests(""))
			dial := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
			}}
			if err := asked(t, elsewhere, registry.Options{Transport: dial}); err == nil || len(s.Requests("")) != n {
				t.Errorf("%s says to TLS %s: %v, and %d requests without TLS; want an error and none", elsewhere.Host, name, err, len(s.Requests(""))-n)
			}
		}
	}
}
