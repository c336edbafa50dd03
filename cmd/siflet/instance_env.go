package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/action"
)

// withStart adds to a request the environment that the instance was started with, as
// its record has it, which only its owner can read: what was set then, and what the
// caller then had in its environment and the caller now has not. What is said now wins.
func withStart(now action.Request, record []byte) action.Request {
	var start action.Request
	if json.Unmarshal(record, &start) != nil {
		return now // an instance of another origin
	}
	now.Set = append(slices.Clip(start.Set), now.Set...)
	now.Set = slices.DeleteFunc(now.Set, func(v action.Var) bool { return v.Name == "NOTIFY_SOCKET" })
	now.PrependPath, now.AppendPath, now.Path = either(now.PrependPath, start.PrependPath), either(now.AppendPath, start.AppendPath), either(now.Path, start.Path)
	if start.CleanEnv && !now.CleanEnv {
		// What was kept out of the instance stays out.
		now.CleanEnv = true
		now.Host = slices.DeleteFunc(now.Host, func(entry string) bool {
			name, _, _ := strings.Cut(entry, "=")
			return !passThrough(name, true)
		})
	}
	known := map[string]bool{}
	for _, entry := range now.Host {
		name, _, _ := strings.Cut(entry, "=")
		known[name] = true
	}
	if !now.CleanEnv {
		for _, entry := range start.Host {
			name, _, _ := strings.Cut(entry, "=")
			if !known[name] && !ofSession(name) {
				now.Host = append(now.Host, entry)
			}
		}
	}
	return now
}

// ofSession says that a variable tells of a person's session, not of the service.
func ofSession(name string) bool {
	for _, prefix := range []string{"SSH_", "XDG_SESSION_", "XDG_SEAT", "XDG_VTNR", "SUDO_", "TMUX", "DBUS_SESSION_", "LC_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PWD", "OLDPWD", "SHLVL", "TERM", "DISPLAY", "XAUTHORITY", "WINDOWID", "STY", "COLUMNS", "LINES", "LANG", "MAIL", "LOGNAME", "USER", "HOME", "SHELL",
	}, name)
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}
