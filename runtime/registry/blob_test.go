package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/test/registrytest"
)

func TestBlobWithoutRangesResumes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{NoRange: true})
	want, d := content(t, s, 300_000)
	s.CutBlob(d.Digest.String(), 100_000, 1)
	s.CutBlob(d.Digest.String(), 200_000, 1)
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 10, nil)
	if err != nil || !bytes.Equal(got, want[10:]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestBlobGivesUpWithoutProgress(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 300_000)
	s.CutBlob(d.Digest.String(), 10, -1)
	_, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), d.Digest.String()) || !strings.Contains(err.Error(), "of 300000") {
		t.Errorf("%v, want ErrUnavailable that says where", err)
	}
	if n := s.BlobGets(""); n != 6 {
		t.Errorf("%d requests, want 6", n)
	}
}

func TestBlobOutlivesManyBreaksWithProgress(t *testing.T) {
	s := registrytest.New(t)
	want, d := content(t, s, 2<<20)
	s.CutBlob(d.Digest.String(), 100<<10, -1)
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestBlobOfAnotherSizeIsCorrupt(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	for name, test := range map[string]struct {
		size, offset int64
		want         string
	}{
		"short":        {1010, 0, "10 bytes short of 1010"},
		"long":         {990, 0, "10 bytes longer than 990"},
		"short, later": {1010, 5, "10 bytes short of 1010"},
		"past its end": {1010, 1005, "no byte 1005"},
	} {
		lie := v1.Descriptor{Digest: d.Digest, Size: test.size}
		_, err := read(t, s.Client(t, nil), s.Ref("team/app"), lie, test.offset, nil)
		if !errors.Is(err, registry.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrCorrupt %q", name, err, test.want)
		}
	}
}

// answerBlob has all GETs of blobs answered.
func answerBlob(s *registrytest.Server, answer func(w http.ResponseWriter, r *http.Request)) {
	s.Hook(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer(w, r)
		return true
	})
}

func TestBlobThatChangesIsCorrupt(t *testing.T) {
	for name, second := range map[string]func(w http.ResponseWriter){
		"other entity": func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"two"`)
			w.Header().Set("Content-Range", "bytes 500-999/1000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"other size": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 500-1999/2000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"other part": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-999/1000")
			w.WriteHeader(http.StatusPartialContent)
		},
		"no part stated": func(w http.ResponseWriter) { w.WriteHeader(http.StatusPartialContent) },
		"encoded": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.New(t)
			_, d := content(t, s, 1000)
			answerBlob(s, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					second(w)
					return
				}
				w.Header().Set("ETag", `"one"`)
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write(make([]byte, 500))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			if _, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil); !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
		})
	}
}

func TestBlobWithoutLengthIsBounded(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	answerBlob(s, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // so there is no Content-Length
		_, _ = w.Write(make([]byte, 2000))
	})
	got, err := read(t, s.Client(t, nil), s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrCorrupt) || len(got) > 1000 {
		t.Errorf("%d bytes, %v, want at most 1000 and ErrCorrupt", len(got), err)
	}
}

func TestBlobNeedsASoundDescriptor(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 10)
	c := s.Client(t, nil)
	for name, bad := range map[string]v1.Descriptor{
		"no digest":     {Size: 10},
		"path":          {Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: "../../x"}},
		"negative size": {Size: -1, Digest: d.Digest},
	} {
		if _, err := read(t, c, s.Ref("team/app"), bad, 0, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := read(t, c, s.Ref("team/app"), d, 11, nil); err == nil {
		t.Error("offset past the end: no error")
	}
	missing := v1.Descriptor{Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: hex64}}
	if _, err := read(t, c, s.Ref("team/app"), missing, 0, nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("missing: %v, want ErrNotFound", err)
	}
	if n := len(s.Requests("")); n != 1 {
		t.Errorf("%d requests, want one, for what is missing", n)
	}
}

func TestCloseEndsARead(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	hanging, _ := s.HangBlob(t, d.Digest.String(), 10, -1)
	r, err := s.Client(t, nil).Blob(t.Context(), s.Ref("team/app"), d, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(r)
		ended <- err
	}()
	<-hanging
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("%v, want that it was closed", err)
	}
}

func TestContextEndsARead(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	hanging, _ := s.HangBlob(t, d.Digest.String(), 10, -1)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Client(t, nil).Blob(ctx, s.Ref("team/app"), d, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		<-hanging
		cancel()
	}()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestDribbleIsAnError(t *testing.T) {
	s := registrytest.New(t)
	text, d := content(t, s, 1000)
	answerBlob(s, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		for i := range text {
			_, _ = w.Write(text[i : i+1])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	c := registry.New(registry.Options{Stall: 200 * time.Millisecond, Attempts: 2, Wait: noWait})
	_, err := read(t, c, s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "next to nothing") {
		t.Errorf("%v, want ErrUnavailable for the dribble", err)
	}
}

func TestStallIsAnError(t *testing.T) {
	s := registrytest.New(t)
	_, d := content(t, s, 1000)
	s.HangBlob(t, d.Digest.String(), 10, -1)
	c := registry.New(registry.Options{Stall: 50 * time.Millisecond, Attempts: 2, Wait: noWait})
	_, err := read(t, c, s.Ref("team/app"), d, 0, nil)
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "sent nothing for too long") {
		t.Errorf("%v, want ErrUnavailable for the stall", err)
	}
}
