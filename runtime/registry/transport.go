package registry

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// files are what a security's files hold.
type files struct {
	CA     [][]byte
	Client [][2][]byte
	Skip   bool
	Dial   time.Duration
	Proxy  string
}

// transport returns the connections for an endpoint; those with the same settings share them.
func (c *Client) transport(e *endpoint) (http.RoundTripper, error) {
	if c.o.Transport != nil {
		if _, ok := c.o.Transport.(*http.Transport); !ok {
			return c.o.Transport, nil
		}
	}
	f, err := e.security.read()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.transports[key]; ok {
		return t, nil
	}
	made, err := c.connect(f)
	if err != nil {
		return nil, err
	}
	const most = 64 // sets of settings; there are more only when they change
	if len(c.transports) >= most {
		for _, t := range c.transports {
			t.CloseIdleConnections()
		}
		clear(c.transports)
	}
	c.transports[key] = made
	return made, nil
}

func (s security) read() (files, error) {
	f := files{Dial: s.dial, Proxy: s.proxy, Skip: s.skipVerify != nil && *s.skipVerify}
	for _, path := range s.ca {
		text, err := readBounded(path)
		if err != nil {
			return files{}, fmt.Errorf("ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return files{}, fmt.Errorf("ca: %s has no certificate", path)
		}
		f.CA = append(f.CA, text)
	}
	for _, pair := range s.client {
		certificate, err := readBounded(pair[0])
		if err != nil {
			return files{}, fmt.Errorf("client certificate: %w", err)
		}
		key := certificate
		if pair[1] != "" {
			if key, err = readBounded(pair[1]); err != nil {
				return files{}, fmt.Errorf("client key: %w", err)
			}
		}
		if _, err := tls.X509KeyPair(certificate, key); err != nil {
			return files{}, fmt.Errorf("client certificate %s: %w", pair[0], err)
		}
		f.Client = append(f.Client, [2][]byte{certificate, key})
	}
	return f, nil
}

func (c *Client) connect(f files) (*http.Transport, error) {
	const (
		dial      = 30 * time.Second
		handshake = 10 * time.Second
		idle      = 30 * time.Second
		perHost   = 16
	)
	var t *http.Transport
	if given, ok := c.o.Transport.(*http.Transport); ok {
		t = given.Clone()
	} else {
		t = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: perHost, IdleConnTimeout: idle, TLSHandshakeTimeout: handshake,
			DialContext: (&net.Dialer{Timeout: dial}).DialContext,
		}
	}
	// A blob's bytes are what its digest is about.
	t.DisableCompression = true
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if f.Dial > 0 {
		t.DialContext = (&net.Dialer{Timeout: f.Dial}).DialContext
	}
	if f.Proxy != "" {
		proxy, err := url.Parse(f.Proxy)
		if err != nil {
			return nil, errors.New("proxy: malformed URL")
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	t.TLSClientConfig.InsecureSkipVerify = t.TLSClientConfig.InsecureSkipVerify || f.Skip
	if given := t.TLSClientConfig.RootCAs; f.CA != nil && given != nil {
		t.TLSClientConfig.RootCAs = given.Clone()
	} else if f.CA != nil {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		t.TLSClientConfig.RootCAs = pool
	}
	for _, text := range f.CA {
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text)
	}
	for _, pair := range f.Client {
		certificate, err := tls.X509KeyPair(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.Certificates = append(t.TLSClientConfig.Certificates, certificate)
	}
	return t, nil
}
