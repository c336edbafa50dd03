package inspect_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/contract"
	"github.com/siflet/siflet/runtime/inspect"
	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/squashfs"
	"github.com/siflet/siflet/runtime/unsquash"
)

// TestFilesSayWhatIsRecorded compares what others recorded of their images with what is
// found in them.
func TestFilesSayWhatIsRecorded(t *testing.T) {
	for _, name := range []string{"svc.sif", "busybox_amd64.sif"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("../../../shared/testdata", name)
			f, err := sif.Open(path)
			if err != nil {
				t.Skipf("an image of others' making: %v", err)
			}
			defer f.Close()
			recorded, ok, err := inspect.Recorded(f)
			if err != nil || !ok {
				t.Fatalf("Recorded() = %v, %v", ok, err)
			}
			found, made, problems := inspect.Found(squash(t, f, path))
			if !made || problems != nil {
				t.Fatalf("Found(): %v, %v", made, problems)
			}
			if found.Apps["pdf_client"] != nil && recorded.Apps["pdf_client"] == nil {
				t.Error("an app is not recorded")
			}
			if len(found.Apps) == 0 {
				found.Apps = recorded.Apps
			}
			// A record has neither the empty environment of apps nor spaces at a script's end.
			if diff := cmp.Diff(recorded, found, cmp.Transformer("trim", func(s string) string {
				if strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") || strings.HasSuffix(s, "\n") {
					return strings.TrimSpace(s)
				}
				return s
			}), cmp.FilterValues(func(a, b map[string]string) bool { return len(a)+len(b) == 0 }, cmp.Ignore())); diff != "" {
				t.Errorf("recorded and found (-, +):\n%s", diff)
			}
		})
	}
}

func squash(t *testing.T, f *sif.File, path string) inspect.Tree {
	t.Helper()
	img, err := f.Image()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	e := img.Extents[0]
	r, err := unsquash.NewReader(io.NewSectionReader(file, e.Offset, e.Size), e.Size)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestHostileDirectory(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, map[string]string{"secret": "secret", "env/90-environment.sh": "secret"})
	root := t.TempDir()
	write(t, root, map[string]string{
		".singularity.d/runscript":                 "-> " + outside + "/secret",
		".singularity.d/startscript":               "-> ../../../../../../../../../../../.." + outside + "/secret",
		".singularity.d/test":                      "-> test",
		".singularity.d/labels.json":               "no JSON",
		".singularity.d/runscript.help":            "-> /usr/share/help",
		"usr/share/help":                           "help in the image\n\n",
		".singularity.d/env/90-environment.sh":     "export A=1\n",
		".singularity.d/env/99-base.sh":            "not of interest",
		".singularity.d/env/91-environment.sh":     "-> " + outside + "/env/90-environment.sh",
		"scif/apps/one/scif/runscript":             "one",
		"scif/apps/two/scif":                       "-> " + outside,
		"scif/apps/one/scif/env/01-base.sh":        "not of interest",
		"scif/apps/one/scif/env/90-environment.sh": "export B=1",
	})
	if out, err := exec.Command("mkfifo", filepath.Join(root, ".singularity.d/Singularity")).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	d, err := inspect.OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, made, problems := inspect.Found(d)
	want := contract.Attributes{
		Helpfile: "help in the image", Environment: map[string]string{"/.singularity.d/env/90-environment.sh": "export A=1"},
		Apps: map[string]*contract.Attributes{"one": {
			Runscript: "one", Environment: map[string]string{"/scif/apps/one/scif/env/90-environment.sh": "export B=1"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" || !made {
		t.Errorf("Found(), made %v:\n%s", made, diff)
	}
	if len(problems) != 2 { // the loop, the labels
		t.Errorf("problems: %v", problems)
	}
}

func layer(t *testing.T, fill func(w *squashfs.Writer)) inspect.Tree {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "layer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	w, err := squashfs.New(t.Context(), f, squashfs.Options{Compression: squashfs.Gzip})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	fill(w)
	size, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r, err := unsquash.NewReader(f, size)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestStackShowsWhatAnOverlayWould(t *testing.T) {
	add := func(w *squashfs.Writer, e squashfs.Entry, text string) {
		e.Size = int64(len(text))
		if err := w.Add(e, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	script := func(name string) squashfs.Entry {
		return squashfs.Entry{Path: ".singularity.d/" + name, Mode: 0o100755}
	}
	low := layer(t, func(w *squashfs.Writer) {
		add(w, script("runscript"), "low")
		add(w, script("startscript"), "low")
		add(w, script("env/90-environment.sh"), "low")
		add(w, squashfs.Entry{Path: "scif/apps/gone/scif/runscript", Mode: 0o100755}, "low")
		add(w, squashfs.Entry{Path: "scif/apps/kept/scif/runscript", Mode: 0o100755}, "low")
	})
	high := layer(t, func(w *squashfs.Writer) {
		add(w, script("runscript"), "high")
		for _, gone := range []string{".singularity.d/startscript", "scif/apps/gone"} {
			if err := w.Add(squashfs.Entry{Path: gone, Mode: 0o020000}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Add(squashfs.Entry{Path: ".singularity.d/env", Mode: 0o040755, Xattrs: map[string]string{"trusted.overlay.opaque": "y"}}, nil); err != nil {
			t.Fatal(err)
		}
		add(w, script("env/91-environment.sh"), "high")
	})
	got, _, problems := inspect.Found(inspect.Stack{low, high})
	want := contract.Attributes{
		Runscript: "high", Environment: map[string]string{"/.singularity.d/env/91-environment.sh": "high"},
		Apps: map[string]*contract.Attributes{"kept": {Runscript: "low"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || problems != nil {
		t.Errorf("Found(): %v\n%s", problems, diff)
	}
}

func TestOnly(t *testing.T) {
	all := contract.Attributes{
		Labels: map[string]string{"a": "b"}, Runscript: "run", Deffile: "def",
		Apps: map[string]*contract.Attributes{"x": {Runscript: "x runs", Helpfile: "x helps"}, "y": {}},
	}
	got, err := inspect.Only(all, "x", inspect.Runscript, inspect.Deffile)
	want := contract.Attributes{Deffile: "def", Apps: map[string]*contract.Attributes{"x": {Runscript: "x runs"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Only(x): %v\n%s", err, diff)
	}
	if _, err := inspect.Only(all, "z", inspect.Runscript); err == nil {
		t.Error("Only(z): there is none, and no error")
	}
}
