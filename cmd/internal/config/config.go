// Package config is the node agent's configuration: one TOML file, its keys with
// their types, defaults and explanations, what is wrong with it, and what it says
// to a person who asks. It reads files and writes none.
//
// A new key is a field of Config (or Handler) and an entry of settings (or
// handlerSettings); the flag, the checks, "siflet config default" and
// docs/configuration.md follow from those.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// File is where the configuration is unless --config names another.
const File = "/etc/siflet/config.toml"

// formerName is what the file was called before there were tables in it.
const formerName = "agent.toml"

// Config is what the agent goes by. Defaults returns the one that holds where
// nobody says otherwise.
type Config struct {
	// Places.
	StateDir, RunDir, Listen string
	// Logs and metrics.
	LogLevel, LogFormat, MetricsListen, TraceEndpoint string
	// Images.
	RegistryHosts    []string
	ImageDirs        []string
	MountExt3        bool
	AuthFile, Policy string
	ParallelLayers   int
	// Network and streams.
	Network                             string // auto, cni or bridge
	CNIConfDir                          string
	CNIBinDirs                          []string
	CNITimeout                          time.Duration
	Bridge                              string
	Subnets                             []string
	StreamAddress                       string
	UnprivilegedPorts, UnprivilegedICMP bool
	// StreamIdleTimeout and ExecDrainTimeout bound what streams wait for.
	StreamIdleTimeout, ExecDrainTimeout time.Duration
	// CDIDirs describe devices.
	CDIDirs []string
	// Control groups.
	CgroupDriver, CgroupParent string
	// Security.
	EnableSELinux     bool
	SELinuxCategories int
	// Checkpoints.
	Criu          string
	RestoreImages bool

	NRI NRI

	Handlers map[string]Handler
}

// PolicyNamed says that somebody named the policy, which must be there then.
func (c *Config) PolicyNamed() bool { return c.Policy != "" }

// Problems are all that is wrong with a configuration.
type Problems []Problem //nolint:errname // what is told of first, an error second

// Problem is one thing that is wrong, or that will have no effect.
type Problem struct {
	// Where is the file and the line, or the flag.
	Where string
	Text  string
}

// String is where and what.
func (p Problem) String() string { return p.Where + ": " + p.Text }

// Error is all of them, a line each.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, one := range p {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// err is nil if there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Flags are the settings as they were given on the command line.
type Flags struct {
	set *pflag.FlagSet
	c   *Config
}

// Register adds a flag for each setting to f.
func Register(f *pflag.FlagSet) *Flags {
	c := Defaults()
	for _, s := range settings() {
		s.register(f, c)
	}
	return &Flags{f, c}
}

// ProblemsOf are what an error of Load for a file says.
func ProblemsOf(name string, err error) Problems {
	if list, ok := errors.AsType[Problems](err); ok {
		return list
	}
	return Problems{{Name(name), err.Error()}}
}

// Load joins flags, file and defaults; what comes first in that list wins. An empty
// name is File, if that is there. The error, if the configuration is wrong, is
// Problems: all there are.
func Load(name string, flags *Flags) (*Config, error) {
	text, name, err := read(name)
	if err != nil {
		return nil, err
	}
	c, places, problems := parse(name, text)
	if flags != nil {
		problems = append(problems, flags.override(c, places)...)
	}
	problems = append(problems, c.complete(places)...)
	return c, problems.err()
}

// Name is the file that an empty name stands for, or the name.
func Name(name string) string {
	if name == "" {
		return File
	}
	return name
}

// Missing says that nobody names a file, and that there is none: the defaults hold.
func Missing(name string) bool {
	_, err := os.Stat(File)
	return name == "" && errors.Is(err, fs.ErrNotExist)
}

// Check finds all that is wrong with a file, or with what it points to on this
// machine, and what in it will have no effect.
func Check(name string) (wrong, idle Problems) {
	text, name, err := read(name)
	if err != nil {
		return ProblemsOf(name, err), nil
	}
	c, at, wrong := parse(name, text)
	wrong = append(wrong, c.complete(at)...)
	wrongThere, idle := c.look(at)
	return append(wrong, wrongThere...), idle
}

// read finds the file's text.
func read(name string) (text, path string, err error) {
	path = Name(name)
	b, err := os.ReadFile(path)
	switch {
	case err == nil:
		return string(b), path, nil
	case name == "" && errors.Is(err, fs.ErrNotExist):
		return "", path, formerFile(path)
	default:
		return "", path, fmt.Errorf("read configuration: %w", err)
	}
}

// formerFile refuses to go on without what the file said that is not read any more:
// there may be a policy in it.
func formerFile(path string) error {
	former := filepath.Join(filepath.Dir(path), formerName)
	if _, err := os.Stat(former); err != nil {
		return nil //nolint:nilerr // it is not there either
	}
	return fmt.Errorf("the configuration is %s now, and %s is not read any more; rename it, its keys are the same: mv %s %s",
		path, former, former, path)
}

// override puts the flags that were given over what the file says.
func (f *Flags) override(c *Config, at places) (problems Problems) {
	for _, s := range settings() {
		flag := s.flag()
		if !f.set.Changed(flag) {
			continue
		}
		assign(s.value(c), s.value(f.c))
		if path, ok := s.value(c).(*string); ok && s.kind.fromHere && *path != "" {
			if abs, err := filepath.Abs(*path); err == nil {
				*path = abs
			}
		}
		at[s.name] = "--" + flag
		problems = append(problems, s.verify(c, at[s.name])...)
	}
	return problems
}

// complete fills in what follows from other settings, and checks those that must fit
// each other.
func (c *Config) complete(at places) Problems {
	c.StateDir, c.RunDir = filepath.Clean(c.StateDir), filepath.Clean(c.RunDir)
	if c.Listen == "" {
		c.Listen = "unix://" + filepath.Join(c.RunDir, "siflet.sock")
	}
	return slices.Concat(c.checkPlaces(at), c.checkSubnets(at), c.checkParent(at), c.checkNRI(at), c.checkHandlers(at))
}

// Changed is a setting that is not what it was.
type Changed struct {
	Name string
	// Reload says that it counts without a restart.
	Reload bool
}

// Changes are the differences of two configurations, by key.
func Changes(old, now *Config) (list []Changed) {
	for _, s := range settings() {
		if !reflect.DeepEqual(s.value(old), s.value(now)) {
			list = append(list, Changed{s.name, s.reload})
		}
	}
	for _, name := range handlerNames(old, now) {
		a, had := old.Handlers[name]
		b, has := now.Handlers[name]
		if had != has {
			list = append(list, Changed{handlersTable + "." + name, true})
			continue
		}
		for _, s := range handlerSettings() {
			if !reflect.DeepEqual(s.value(&a), s.value(&b)) {
				list = append(list, Changed{handlersTable + "." + name + "." + s.name, s.reload})
			}
		}
	}
	return list
}

func handlerNames(all ...*Config) (names []string) {
	for _, c := range all {
		for name := range c.Handlers {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Keep returns now with those settings as they are in old that need a restart.
func Keep(old, now *Config) *Config {
	out := *now
	for _, s := range settings() {
		if !s.reload {
			assign(s.value(&out), s.value(old))
		}
	}
	return &out
}

// MarshalJSON is the configuration by the names of its keys.
func (c *Config) MarshalJSON() ([]byte, error) {
	all := map[string]any{}
	for _, s := range settings() {
		all[s.name] = shown(s.value(c))
	}
	handlers := map[string]any{}
	for name, h := range c.Handlers {
		one := map[string]any{}
		for _, s := range handlerSettings() {
			one[s.name] = shown(s.value(&h))
		}
		handlers[name] = one
	}
	all["handlers"] = handlers
	return json.Marshal(all)
}

// shown is a value as a person would write it.
func shown(value any) any {
	if d, ok := value.(*time.Duration); ok {
		return span(*d)
	}
	return value
}
