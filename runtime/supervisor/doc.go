// Package supervisor is the process that keeps one instance alive, and the
// client that the engine and the command line use to talk to it.
//
// The supervisor starts containers and execs through a launch stage, writes
// their logs, waits for them and records how they ended. It knows nothing of
// images, networks or CRI, and it outlives whoever started it. It writes
// Dir/control.sock, the log files and the exit files it is told of.
//
// One locked thread runs everything: an event loop over bare descriptors. A
// supervisor is paid for by every pod, so the server side keeps clear of
// goroutines, encoding/json, package net and os.File.
package supervisor
