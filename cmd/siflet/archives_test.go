package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestArchivesOfImagesAreKnown(t *testing.T) {
	archive := func(names ...string) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, name := range names {
			if err := w.WriteHeader(&tar.Header{Name: name, Size: 5, Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("12345")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	gzipped := func(text []byte) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	saved := archive("blobs/sha256/x", "index.json", "manifest.json", "oci-layout")
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"saved":        {saved, "docker-archive"},
		"saved.gz":     {gzipped(saved), "docker-archive"},
		"saved.zst":    {z.EncodeAll(saved, nil), "docker-archive"},
		"layout":       {archive("./oci-layout", "./index.json"), "oci-archive"},
		"other":        {archive("etc/passwd"), ""},
		"text":         {[]byte("no image\n"), ""},
		"empty":        {nil, ""},
		"truncated.gz": {gzipped(saved)[:20], ""},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := archiveScheme(path); got != c.want {
			t.Errorf("%s is %q, want %q", name, got, c.want)
		}
		if err := needsScheme(path); (err != nil) != (c.want != "") {
			t.Errorf("needsScheme(%s) = %v", name, err)
		}
	}
}

func TestOnlyWhatIsOnDiskNeedsAScheme(t *testing.T) {
	for _, ref := range []string{"no-such-file", "docker://debian", "nonsense://x", t.TempDir(), ""} {
		if err := needsScheme(ref); err != nil {
			t.Errorf("needsScheme(%q) = %v", ref, err)
		}
	}
	layout := t.TempDir()
	if err := os.WriteFile(filepath.Join(layout, "oci-layout"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := needsScheme(layout); err == nil {
		t.Error("an OCI layout is no name of its own")
	}
}
