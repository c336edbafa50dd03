package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// hostTable is what hosts.toml says about one server.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
	Proxy        string         `toml:"proxy"`
}

// parseHosts reads a hosts.toml that is in directory. Keys that it knows not are
// passed over, as containerd does: there are more with each of its versions.
func parseHosts(directory string, text []byte) (list []*endpoint, unknown []string, err error) {
	file := struct {
		hostTable

		Server string               `toml:"server"`
		Host   map[string]hostTable `toml:"host"`
	}{}
	meta, err := toml.Decode(string(text), &file)
	if err != nil {
		return nil, nil, err
	}
	for _, key := range meta.Undecoded() {
		unknown = append(unknown, key.String())
	}
	seen := map[string]bool{}
	for _, key := range meta.Keys() { // in the order of the file
		if len(key) < 2 || key[0] != "host" || seen[key[1]] {
			continue
		}
		seen[key[1]] = true
		e, err := file.Host[key[1]].endpoint(key[1], directory)
		if err != nil {
			return nil, nil, fmt.Errorf("host %q: %w", key[1], err)
		}
		if e.host == "" {
			return nil, nil, errors.New("a host without a name")
		}
		list = append(list, e)
	}
	e, err := file.endpoint(file.Server, directory)
	if err != nil {
		return nil, nil, fmt.Errorf("server %q: %w", file.Server, err)
	}
	return append(list, e), unknown, nil
}

// endpoint is for the given URL; without one, it has no host.
func (t hostTable) endpoint(address, directory string) (*endpoint, error) {
	e := &endpoint{pull: true, resolve: true}
	if err := e.locate(address, t.OverridePath); err != nil {
		return nil, err
	}
	if len(t.Capabilities) > 0 {
		has := func(name string) bool {
			return slices.ContainsFunc(t.Capabilities, func(s string) bool { return strings.EqualFold(s, name) })
		}
		e.pull, e.resolve, e.push, e.noPush = has("pull"), has("resolve"), has("push"), !has("push")
	}
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(directory, path)
	}
	var err error
	if e.security.ca, err = texts(t.CA); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	for i, path := range e.security.ca {
		e.security.ca[i] = absolute(path)
	}
	if e.security.client, err = pairs(t.Client, absolute); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	e.security.skipVerify = t.SkipVerify
	for name, value := range t.Header {
		values, err := texts(value)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", name, err)
		}
		if e.header == nil {
			e.header = http.Header{}
		}
		e.header[http.CanonicalHeaderKey(name)] = values
	}
	if t.DialTimeout != "" {
		if e.security.dial, err = time.ParseDuration(t.DialTimeout); err != nil || e.security.dial <= 0 {
			return nil, fmt.Errorf("dial_timeout %q is no duration such as 5s", t.DialTimeout)
		}
	}
	if t.Proxy != "" {
		proxy, err := url.Parse(t.Proxy)
		if err != nil || proxy.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme) {
			return nil, errors.New("proxy: want a URL with http, https, socks5 or socks5h")
		}
		e.security.proxy = t.Proxy
	}
	return e, nil
}

// locate takes a server's URL apart. The API is below /v2 unless the URL has it all.
func (e *endpoint) locate(address string, override bool) error {
	if address == "" {
		return nil
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("want a URL such as https://mirror.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("a user, query or fragment has no place in the URL")
	}
	if reason := checkHost(u.Host); reason != "" {
		return errors.New(reason)
	}
	e.scheme, e.host = u.Scheme, u.Host
	if u.Path != "" {
		e.path = strings.TrimSuffix(path.Clean(u.Path), "/")
	}
	if !override && !strings.HasSuffix(e.path, "/v2") {
		e.path += "/v2"
	}
	return nil
}

// texts reads a string or a list of them.
func texts(value any) ([]string, error) {
	switch value := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{value}, nil
	case []any:
		list := make([]string, 0, len(value))
		for _, v := range value {
			text, ok := v.(string)
			if !ok {
				return nil, errors.New("want a string or a list of strings")
			}
			list = append(list, text)
		}
		return list, nil
	default:
		return nil, errors.New("want a string or a list of strings")
	}
}

// pairs reads a file that has certificate and key, or a list of such files or of pairs.
func pairs(value any, absolute func(string) string) ([][2]string, error) {
	wrongForm := errors.New("want a file, or a list of files or of [certificate, key]")
	var list [][2]string
	switch value := value.(type) {
	case nil:
	case string:
		list = append(list, [2]string{absolute(value), ""})
	case []any:
		for _, v := range value {
			files, err := texts(v)
			const most = 2
			if err != nil || len(files) == 0 || len(files) > most {
				return nil, wrongForm
			}
			pair := [2]string{absolute(files[0]), ""}
			if len(files) == most && files[1] != "" {
				pair[1] = absolute(files[1])
			}
			list = append(list, pair)
		}
	default:
		return nil, wrongForm
	}
	return list, nil
}
