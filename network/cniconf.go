package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/libcni"
)

const maxConfSize = 1 << 20

// confDir is a directory of CNI configurations, read again when it changes. The
// first file in the order of names counts.
type confDir struct {
	dir   string
	check func(*libcni.NetworkConfigList) error

	mu    sync.Mutex // guards what follows, and serves reading once for many callers
	stamp string
	list  *libcni.NetworkConfigList
	err   error
}

// current returns the network in force, nil if none is configured, or an error
// that names the file at fault.
func (d *confDir) current() (*libcni.NetworkConfigList, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, stamp, err := d.first()
	if err != nil {
		return nil, fmt.Errorf("read CNI configuration: %w", err)
	}
	if stamp != d.stamp {
		d.list, d.err = nil, nil
		if first != "" {
			d.list, d.err = loadConf(first)
		}
		d.stamp = stamp
	}
	if d.list == nil || d.err != nil {
		return nil, d.err
	}
	// Plugins come and go without a change here.
	if err := d.check(d.list); err != nil {
		return nil, fmt.Errorf("CNI configuration %s: %w", first, err)
	}
	return d.list, nil
}

// first finds the file in force, and a stamp that changes when it does.
func (d *confDir) first() (path, stamp string, err error) {
	entries, err := os.ReadDir(d.dir) // in the order of names
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") ||
			!slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(name)) {
			continue
		}
		path := filepath.Join(d.dir, name)
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // a dangling link, or removed just now
		}
		return path, fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()), nil
	}
	return "", "", nil
}

func loadConf(path string) (*libcni.NetworkConfigList, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxConfSize {
		err = fmt.Errorf("%d bytes are too many", info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	var list *libcni.NetworkConfigList
	if err == nil {
		if filepath.Ext(path) == ".conflist" {
			list, err = libcni.NetworkConfFromBytes(data)
		} else {
			list, err = loadSingle(data)
		}
	}
	if err == nil && len(list.Plugins) == 0 {
		err = errors.New("no plugins")
	}
	if err != nil {
		return nil, fmt.Errorf("CNI configuration %s: %w", path, err)
	}
	return list, nil
}

// loadSingle reads a file with one plugin, or a list under the wrong name, as a
// list.
func loadSingle(data []byte) (*libcni.NetworkConfigList, error) {
	var one struct {
		Name       string          `json:"name"`
		CNIVersion string          `json:"cniVersion,omitempty"`
		Plugins    json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(data, &one); err != nil {
		return nil, err
	}
	if one.Plugins == nil {
		list, err := json.Marshal([]json.RawMessage{data})
		if err != nil {
			return nil, err
		}
		one.Plugins = list
		if data, err = json.Marshal(one); err != nil {
			return nil, err
		}
	}
	return libcni.NetworkConfFromBytes(data)
}
