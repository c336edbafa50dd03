// Package cri serves the Container Runtime Interface, version 1, on a unix
// socket. It translates between CRI's messages and the runtime engine and does
// nothing else: it checks what a client sent, names the field that is wrong,
// and turns what the engine says into statuses and gRPC codes.
//
// What CRI allows and siflet can't do is refused with a reason, never ignored.
//
// It writes no file but the socket it listens on, and opens no file of a
// client's; CRI types and gRPC don't leave it.
package cri
