package runtime

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A container with many files is counted while nobody waits for it.
func TestLongCountKeepsNobodyWaiting(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var d diskUsage
	var w walks
	d.under = make(chan struct{}) // somebody's count goes on and on
	began := time.Now()
	if got := d.count(&w, []string{dir}); got != nil {
		t.Errorf("count() = %+v before anything is known, want nil", got)
	}
	if took := time.Since(began); took > 20*diskPatience {
		t.Errorf("count() took %s", took)
	}
	known := &Disk{At: time.Now().Add(-time.Hour), Bytes: 7}
	d.last = known
	if got := d.count(&w, []string{dir}); got == nil || got.Bytes != 7 {
		t.Errorf("count() = %+v, want what was known", got)
	}
	d.under, d.took = nil, time.Hour // the next one comes late
	if got := d.count(&w, []string{dir}); got == nil || got.Bytes != 7 {
		t.Errorf("count() = %+v, want what was known: counting took longer than that is old", got)
	}
	d.took = 0
	until := time.Now().Add(10 * time.Second)
	got := d.count(&w, []string{dir})
	for ; time.Now().Before(until) && (got == nil || got.Inodes != 2); got = d.count(&w, []string{dir}) {
		<-time.After(time.Millisecond)
	}
	if got == nil || got.Inodes != 2 {
		t.Errorf("count() = %+v, want the directory and its file", got)
	}
	w.end()
	d.last = known
	if got := d.count(&w, []string{dir}); got == nil || got.Bytes != 7 {
		t.Errorf("count() = %+v after the end, want what was known", got)
	}
}
