package cri

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// kept is a socket that is kept, and echoes what connections say.
func kept(t *testing.T, path string) *socket {
	t.Helper()
	l, err := Listen(t.Context(), "unix://"+path)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := l.(*socket)
	if !ok {
		t.Fatalf("Listen made a %T", l)
	}
	var all sync.WaitGroup
	all.Go(func() { s.keep(slog.New(slog.DiscardHandler)) })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _, _ = io.Copy(conn, conn) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		all.Wait()
		if _, err := os.Lstat(path); err == nil {
			t.Error("the closed socket still has a name")
		}
	})
	return s
}

// connected is a connection that is answered on.
func connected(t *testing.T, path string) net.Conn {
	t.Helper()
	var conn net.Conn
	eventually(t, "an answer on "+path, func() bool {
		var err error
		if conn, err = net.Dial("unix", path); err != nil {
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		return wantEcho(t, conn)
	})
	return conn
}

func wantEcho(t *testing.T, conn net.Conn) bool {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	b := []byte("x")
	_, err := conn.Write(b)
	if err == nil {
		_, err = io.ReadFull(conn, b)
	}
	return err == nil
}

func TestALostSocketIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s.sock")
	kept(t, path)
	first := connected(t, path)
	for _, lose := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Rename(path, path+".old") },
		func() error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
	} {
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		connected(t, path)
	}
	if !wantEcho(t, first) {
		t.Error("the first connection is broken")
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v, want mode 0660", info, err)
	}
}

func TestASocketOfSomebodyElseIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	s := kept(t, path)
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + ".other", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	other.SetUnlinkOnClose(false)
	defer other.Close()
	if err := os.Rename(path+".other", path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "something to be said of a socket that somebody else has", func() bool { return s.trouble() != nil })
	if s.current().has() {
		t.Error("the other socket was replaced")
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	connected(t, path)
	eventually(t, "nothing to be wrong any more", func() bool { return s.trouble() == nil })
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}
