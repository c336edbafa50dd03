package services_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

const (
	// gateway is the only way out of the tests' network: a proxy, and at /npm the npm registry.
	gateway = "127.0.0.1:3128"
	// npmRegistry is reached by that, in case this machine trusts others than an image does.
	npmRegistry = "https://registry.npmjs.org"
)

// serveGateway passes on what comes in at a socket, outside of the tests' network, until
// it is told to stop.
func serveGateway(socket string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		return err
	}
	registry, err := url.Parse(npmRegistry)
	if err != nil {
		return err
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		if path, ok := strings.CutPrefix(r.In.URL.Path, "/npm"); ok && r.In.URL.Host == "" {
			r.Out.URL.Path, r.Out.URL.RawPath = path, strings.TrimPrefix(r.In.URL.RawPath, "/npm")
			r.SetURL(registry)
			r.Out.Host = ""
		}
	}}
	server := &http.Server{Handler: forward, ReadHeaderTimeout: patience}
	go server.Serve(l) //nolint:errcheck // until this process ends, which says what the tests say
	return nil
}

// openGateway makes that socket an address of the tests' network.
func openGateway(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil { // closed
				return
			}
			all.Go(func() { relay(ctx, conn, work("gateway.sock")) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
}

// relay connects a connection with a socket until both or ctx end.
func relay(ctx context.Context, one net.Conn, socket string) {
	defer one.Close()
	other, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return
	}
	defer other.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = errors.Join(one.Close(), other.Close())
	})
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{one, other}, {other, one}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
