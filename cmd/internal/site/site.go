// Package site reads siflet.conf, in which the administrator of a machine says what
// people's containers are like: the keys of singularity.conf that make sense here, with
// their names, values and defaults.
//
// It reads that one file, and writes nothing.
package site

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// Path is where the file is.
const Path = "/etc/siflet/siflet.conf"

// maxFile bounds what is read.
const maxFile = 1 << 20

// Conf is what the file says. The fields are named after the keys.
type Conf struct {
	AllowIPCNs, AllowPIDNs, AllowUserNs, AllowUTSNs bool
	ConfigPasswd, ConfigGroup, ConfigResolvConf     bool
	MountProc, MountSys, MountDevpts, MountHome     bool
	MountTmp, UserBindControl, EnableOverlay        bool
	AllowContainerSIF, AllowContainerSquashfs       bool
	AllowContainerExtfs, AllowContainerDir          bool
	AlwaysUseNV, AlwaysUseROCm                      bool
	MountDev                                        string // yes, no or minimal
	SessiondirMaxSize                               int64  // MiB
	BindPath                                        []string
	LimitContainerOwners, LimitContainerGroups      []string
	LimitContainerPaths                             []string
	AllowNetUsers, AllowNetGroups, AllowNetNetworks []string
}

// Default is what is so without a file.
func Default() Conf {
	const size = 64
	return Conf{
		AllowIPCNs: true, AllowPIDNs: true, AllowUserNs: true, AllowUTSNs: true,
		ConfigPasswd: true, ConfigGroup: true, ConfigResolvConf: true,
		MountProc: true, MountSys: true, MountDevpts: true, MountHome: true,
		MountTmp: true, UserBindControl: true, EnableOverlay: true,
		AllowContainerSIF: true, AllowContainerSquashfs: true, AllowContainerExtfs: true, AllowContainerDir: true,
		MountDev: "yes", SessiondirMaxSize: size, BindPath: []string{"/etc/localtime", "/etc/hosts"},
	}
}

// Read reads the file; one that is not there is the default. What is wrong in it is an
// error with its line, as is a file that others than root may have written.
func Read(path string) (Conf, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Conf{}, fmt.Errorf("the machine's configuration: %w; whoever runs siflet has to be able to read it: chmod 644", err)
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return Conf{}, err
	}
	stat, err := linux.Fstat(int(f.Fd()))
	if err != nil {
		return Conf{}, err
	}
	// In a user namespace root's files may seem to be nobody's.
	others := stat.UID != 0 && !linux.InUserNamespace()
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 || others {
		return Conf{}, fmt.Errorf("%s: others than root can write it; it has to be a regular file of root's: chown root, chmod 644", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Conf{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return Conf{}, fmt.Errorf("%s: longer than %d bytes", path, maxFile)
	}
	c, err := Parse(text)
	if err != nil {
		return Conf{}, fmt.Errorf("%s: %w; an administrator has to mend it", path, err)
	}
	return c, nil
}

// Parse reads the text of a file: lines of KEY = VALUE, with comments after a #. Keys that
// take a list may come again; the first time replaces the default.
func Parse(text []byte) (Conf, error) {
	c := Default()
	seen := map[string]bool{}
	keys := c.keys()
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		name, value = strings.Join(strings.Fields(strings.ToLower(name)), " "), strings.TrimSpace(value)
		if !found {
			return c, fmt.Errorf("line %d: want KEY = VALUE, not %q", n, line)
		}
		set, known := keys[name]
		switch {
		case !known && slices.Contains(others(), name):
			continue
		case !known:
			return c, fmt.Errorf("line %d: there is no key %q", n, name)
		}
		if err := set(value, !seen[name]); err != nil {
			return c, fmt.Errorf("line %d: %s = %s: %w", n, name, value, err)
		}
		seen[name] = true
	}
	return c, lines.Err()
}

// setter takes a value; first says that the key was not there before.
type setter func(value string, first bool) error

// keys are those that mean something, by name.
func (c *Conf) keys() map[string]setter {
	return map[string]setter{
		"allow ipc ns": yesNo(&c.AllowIPCNs), "allow pid ns": yesNo(&c.AllowPIDNs),
		"allow user ns": yesNo(&c.AllowUserNs), "allow uts ns": yesNo(&c.AllowUTSNs),
		"config passwd": yesNo(&c.ConfigPasswd), "config group": yesNo(&c.ConfigGroup), "config resolv_conf": yesNo(&c.ConfigResolvConf),
		"mount proc": yesNo(&c.MountProc), "mount sys": yesNo(&c.MountSys), "mount devpts": yesNo(&c.MountDevpts),
		"mount home": yesNo(&c.MountHome), "mount tmp": yesNo(&c.MountTmp), "user bind control": yesNo(&c.UserBindControl),
		"enable overlay":      oneOf(func(v string) { c.EnableOverlay = v != "no" }, "yes", "no", "try", "driver"),
		"allow container sif": yesNo(&c.AllowContainerSIF), "allow container squashfs": yesNo(&c.AllowContainerSquashfs),
		"allow container extfs": yesNo(&c.AllowContainerExtfs), "allow container dir": yesNo(&c.AllowContainerDir),
		"always use nv": yesNo(&c.AlwaysUseNV), "always use rocm": yesNo(&c.AlwaysUseROCm),
		"mount dev": oneOf(func(v string) { c.MountDev = v }, "yes", "no", "minimal"),
		"sessiondir max size": func(v string, _ bool) error {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil || n <= 0 {
				return errors.New("want a size in MiB")
			}
			c.SessiondirMaxSize = n
			return nil
		},
		"bind path":              list(&c.BindPath, absolutes),
		"limit container owners": list(&c.LimitContainerOwners, commas), "limit container groups": list(&c.LimitContainerGroups, commas),
		"limit container paths": list(&c.LimitContainerPaths, absolutes),
		"allow net users":       list(&c.AllowNetUsers, commas), "allow net groups": list(&c.AllowNetGroups, commas),
		"allow net networks": list(&c.AllowNetNetworks, commas),
	}
}

// others are keys of Singularity's and Apptainer's files that mean nothing here, so that
// such a file can be taken as it is.
func others() []string {
	return []string{
		"allow setuid", "allow setuid-mount encrypted", "allow setuid-mount squashfs", "allow setuid-mount extfs", "mount hostfs",
		"enable fusemount", "enable underlay", "mount slave", "allow container encrypted", "allow kernel squashfs", "allow kernel extfs",
		"use nvidia-container-cli", "shared loop devices", "max loop devices", "allow netns paths", "root default capabilities",
		"memory fs type", "cni configuration path", "cni plugin path", "cryptsetup path", "go path", "ldconfig path", "mksquashfs path",
		"mksquashfs procs", "mksquashfs mem", "nvidia-container-cli path", "unsquashfs path", "binary path", "download concurrency",
		"download part size", "download buffer size", "systemd cgroups", "sif fuse", "image driver", "oci mode", "tmp sandbox",
		"root search path", "user search path", "allow ptp fakeroot", "suppress missing squashfuse warning",
	}
}

func yesNo(into *bool) setter {
	return oneOf(func(v string) { *into = v == "yes" }, "yes", "no")
}

func oneOf(set func(string), words ...string) setter {
	return func(value string, _ bool) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("want %s", strings.Join(words, " or "))
		}
		set(value)
		return nil
	}
}

func list(into *[]string, parse func(string) ([]string, error)) setter {
	return func(value string, first bool) error {
		more, err := parse(value)
		if err != nil {
			return err
		}
		if first {
			*into = nil
		}
		*into = append(*into, more...)
		return nil
	}
}

func commas(value string) (out []string, err error) {
	for one := range strings.SplitSeq(value, ",") {
		if one = strings.TrimSpace(one); one != "" && one != "NULL" {
			out = append(out, one)
		}
	}
	return out, nil
}

func absolutes(value string) ([]string, error) {
	out, err := commas(value)
	for _, path := range out {
		source, _, _ := strings.Cut(path, ":")
		if !filepath.IsAbs(source) {
			return nil, fmt.Errorf("%s is not an absolute path", path)
		}
	}
	return out, err
}
