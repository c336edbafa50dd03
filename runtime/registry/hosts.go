package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// endpoint is a server that may have what a reference names.
type endpoint struct {
	scheme, host, path string // https, registry-1.docker.io, /v2
	pull, resolve      bool
	push, noPush       bool   // hosts.toml says so
	authority          bool   // not one of the mirrors
	shared             bool   // its settings are those of all hosts that have none
	reference          string // the host in the name of the image
	ns                 string // for a mirror: whose content is asked for
	header             http.Header
	security           security
	settings           string // the hosts.toml where they are or would be
	fallback           bool   // answers plain HTTP perhaps, though scheme is https
	here               bool   // on this machine
	transport          http.RoundTripper
}

// security says how to connect.
type security struct {
	ca         []string    // files
	client     [][2]string // files: certificate and key; key may be empty
	skipVerify *bool
	dial       time.Duration
	proxy      string
}

func (s security) tls() bool { return s.ca != nil || s.client != nil || s.skipVerify != nil }

// base is the URL that the API's paths are below.
func (e *endpoint) base() string { return e.scheme + "://" + e.host + e.path }

// own says whether the endpoint is the reference's registry itself.
func (e *endpoint) own() bool { return canonicalHost(e.host) == canonicalHost(e.reference) }

// endpoints lists where a host's content is to be had, mirrors first.
func (c *Client) endpoints(host string) ([]*endpoint, error) {
	if reason := checkHost(host); reason != "" {
		return nil, wrong(host, reason)
	}
	hosts := c.current().hosts
	directory, err := settingsOf(hosts, host)
	if err != nil {
		return nil, err
	}
	list, settings := []*endpoint{{}}, "hosts.toml"
	switch {
	case directory != "":
		var unknown []string
		if list, unknown, err = readDirectory(directory); err != nil {
			return nil, err
		}
		settings = filepath.Join(directory, "hosts.toml")
		c.tellUnknown(settings, unknown)
	case len(hosts) > 0:
		settings = filepath.Join(hosts[0], host, "hosts.toml")
	}
	for _, e := range list {
		e.settings, e.shared = settings, filepath.Base(directory) == "_default"
		e.complete(host)
		if e.transport, err = c.transport(e); err != nil {
			return nil, fmt.Errorf("registry %s: %w", e.host, err)
		}
	}
	list[len(list)-1].authority = true
	return list, nil
}

// complete fills in what follows from the reference's host. An endpoint without a host
// is the host itself.
func (e *endpoint) complete(host string) {
	if e.host == "" {
		e.scheme, e.host, e.path = "https", host, "/v2"
		e.pull, e.resolve = true, true
		e.local()
	}
	if e.host == hub {
		e.host = hubServer // the name itself is a web site's
	}
	_, port, _ := net.SplitHostPort(e.host)
	if e.scheme == "http" && e.security.tls() && port != "80" {
		e.scheme, e.fallback = "https", true
	}
	e.reference = host
	if e.host != host && (host != hub || e.host != hubServer) {
		e.ns = host
	}
}

// local makes up for what a registry on this machine mostly lacks, unless its port says
// what it speaks: a certificate to trust, or TLS.
func (e *endpoint) local() {
	name, port, err := net.SplitHostPort(e.host)
	if err != nil {
		name = strings.Trim(e.host, "[]")
	}
	if !strings.EqualFold(name, "localhost") && !net.ParseIP(name).IsLoopback() {
		return
	}
	e.here = true
	switch port {
	case "80":
		e.scheme = "http"
		return
	case "", "443":
	default:
		e.fallback = true
	}
	if e.security.skipVerify == nil {
		skip := true
		e.security.skipVerify = &skip
	}
}

// tellUnknown warns of keys that nobody reads, once for each.
func (c *Client) tellUnknown(path string, keys []string) {
	for _, key := range keys {
		c.mu.Lock()
		told := c.told[path+"\x00"+key]
		remember(c.told, path+"\x00"+key, true)
		c.mu.Unlock()
		if !told {
			c.o.Log.Warn("registry settings have a key that means nothing; it is passed over", "file", path, "key", key)
		}
	}
}

// settingsOf finds the directory with a host's settings; empty if there is none.
func settingsOf(directories []string, host string) (string, error) {
	for _, root := range directories {
		for _, name := range directoryNames(host) {
			directory := filepath.Join(root, name)
			if _, err := os.Stat(directory); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return "", fmt.Errorf("registry settings: %w", err)
			}
			return directory, nil
		}
	}
	return "", nil
}

// directoryNames are what containerd calls a host's directory.
func directoryNames(host string) []string {
	names := []string{host, "_default"}
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		names = append([]string{host[:i] + "_" + host[i+1:] + "_"}, names...)
	}
	return names
}

// readDirectory reads a host's settings, and says which keys in them mean nothing.
func readDirectory(directory string) (list []*endpoint, unknown []string, err error) {
	path := filepath.Join(directory, "hosts.toml")
	text, err := readBounded(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if len(text) == 0 {
		list, err = certificates(directory)
		return list, nil, err
	}
	list, unknown, err = parseHosts(directory, text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, unknown, nil
}

// certificates reads Docker's layout: *.crt for authorities, *.cert with *.key for clients.
func certificates(directory string) ([]*endpoint, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	e := &endpoint{}
	for _, entry := range entries {
		path := filepath.Join(directory, entry.Name())
		switch filepath.Ext(path) {
		case ".crt":
			e.security.ca = append(e.security.ca, path)
		case ".cert":
			key := strings.TrimSuffix(path, ".cert") + ".key"
			if _, err := os.Stat(key); err != nil {
				return nil, fmt.Errorf("%s has no key beside it: %w", path, err)
			}
			e.security.client = append(e.security.client, [2]string{path, key})
		default:
		}
	}
	return []*endpoint{e}, nil
}

// readBounded reads a file of settings.
func readBounded(path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: want a file of at most 1 MiB", path)
	}
	return os.ReadFile(path)
}
