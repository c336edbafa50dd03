package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// handlersTable is the table that has a table for each handler.
const handlersTable = "handlers"

// ownHandler is that of pods that name none, by name.
const ownHandler = "siflet"

// Handler is what pods get that name it as their RuntimeClass's handler.
type Handler struct {
	Runtime                      string
	RuntimeArgs                  []string
	RuntimeTimeout               time.Duration
	Annotations                  []string
	Seccomp                      string
	Capabilities                 []string
	PrivilegedWithoutHostDevices bool
	Writable, Network            string
}

// DefaultHandler is one of which nothing is said.
func DefaultHandler() Handler {
	return Handler{
		RuntimeArgs: []string{}, RuntimeTimeout: time.Minute, Annotations: []string{},
		Seccomp: "runtime/default", Capabilities: defaultCapabilities(), Writable: "disk", Network: "node",
	}
}

// handlerSettings are the keys of a table [handlers.NAME].
func handlerSettings() []setting[Handler] {
	return []setting[Handler]{
		{
			name: "runtime", kind: executable(), reload: true, value: func(h *Handler) any { return &h.Runtime },
			doc:   "OCI runtime, such as crun, runc or runsc, that runs the containers; pods, images, networks and logs stay siflet's",
			unset: "siflet itself", example: `"/usr/bin/crun"`,
		},
		{
			name: "runtime_args", kind: kind{name: "arguments"}, ofRuntime: true, reload: true, value: func(h *Handler) any { return &h.RuntimeArgs },
			doc: "what comes first on that runtime's command line, such as --debug",
		},
		{
			name: "runtime_timeout", least: 1, most: hour, ofRuntime: true, reload: true, value: func(h *Handler) any { return &h.RuntimeTimeout },
			doc: "how long that runtime may take to create, start or delete a container",
		},
		{
			name: "annotations", kind: kind{name: "names with * and ?", check: pattern}, ofRuntime: true, reload: true, value: func(h *Handler) any { return &h.Annotations },
			doc: "annotations of pods and containers that runtime sees",
		},
		{
			name: "seccomp", kind: seccomp(), reload: true, value: func(h *Handler) any { return &h.Seccomp },
			doc: "what a container gets that asks for the runtime's default seccomp profile",
		},
		{
			name: "capabilities", kind: capability(), reload: true, value: func(h *Handler) any { return &h.Capabilities },
			doc: "what containers have that are not privileged, before they add some and drop others",
		},
		{
			name: "writable", kind: oneOf("disk", "tmpfs"), reload: true, value: func(h *Handler) any { return &h.Writable },
			doc: "where containers keep what they write to their root: below state_dir, or in memory that counts as theirs",
		},
		{
			name: "network", kind: oneOf("node", "bridge", "none"), reload: true, value: func(h *Handler) any { return &h.Network },
			doc: "network of the pods: as the node's other pods, the built-in bridge whatever CNI configuration there is,\n" +
				"or nothing but the loopback interface",
		},
		{
			name: "privileged_without_host_devices", reload: true, value: func(h *Handler) any { return &h.PrivilegedWithoutHostDevices },
			doc: "give privileged containers the devices that they ask for instead of all of the node's",
		},
	}
}

// checkHandlers sees that what is meant for another runtime comes with one.
func (c *Config) checkHandlers(at places) (problems Problems) {
	usual := DefaultHandler()
	for _, name := range handlerNames(c) {
		h := c.Handlers[name]
		above := handlersTable + "." + name + "."
		if _, named := at[above+"runtime"]; named || h.Runtime != "" {
			continue
		}
		for _, s := range handlerSettings() {
			if s.ofRuntime && s.write(&h) != s.write(&usual) {
				problems = append(problems, Problem{
					at.of(above + s.name),
					above + s.name + ": is for another runtime, and the handler has none; say runtime = \"/usr/bin/crun\", or leave the key out",
				})
			}
		}
	}
	return problems
}

// readHandlers reads the tables of handlers.
func (c *Config) readHandlers(value any, at places) (problems Problems) {
	if value == nil {
		return nil
	}
	tables, ok := value.(map[string]any)
	if !ok {
		return Problems{{at.of(handlersTable), "handlers: want tables [handlers.NAME]"}}
	}
	c.Handlers = map[string]Handler{}
	name := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for _, key := range slices.Sorted(maps.Keys(tables)) {
		above := handlersTable + "." + key
		table, ok := tables[key].(map[string]any)
		switch {
		case !ok:
			problems = append(problems, Problem{at.of(above), fmt.Sprintf("%s: want a table [%s]", above, above)})
			continue
		case !name.MatchString(key):
			problems = append(problems, Problem{
				at.of(above),
				above + ": a RuntimeClass can't name such a handler; want at most 63 small letters, digits and \"-\"",
			})
			continue
		case key == ownHandler:
			problems = append(problems, Problem{at.of(above), above + ": that is siflet's own handler, which is as it is; give this one another name"})
			continue
		}
		h := DefaultHandler()
		problems = append(problems, fill(&h, handlerSettings(), table, above+".", at)...)
		c.Handlers[key] = h
	}
	return problems
}
