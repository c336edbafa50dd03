package node

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// file is an entry of a tar: of a regular file, Linkname is its content.
type tarFile = tar.Header

func tarOf(tb testing.TB, files ...tarFile) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range files {
		data := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(h.Name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Typeflag == tar.TypeReg {
			data, h.Linkname = h.Linkname, ""
			h.Size = int64(len(data))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.ModTime.IsZero() {
			h.ModTime = time.Unix(1_700_000_000, 0)
		}
		h.Format = tar.FormatPAX
		must(tb, w.WriteHeader(&h))
		_, err := io.WriteString(w, data)
		must(tb, err)
	}
	must(tb, w.Close())
	return b.Bytes()
}

// attr is a PAX record for an extended attribute.
func attr(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m["SCHILY.xattr."+pairs[i]] = pairs[i+1]
	}
	return m
}

// layersWithAll is three layers with all there can be in them.
func layersWithAll(tb testing.TB) [][]byte {
	tb.Helper()
	long := strings.Repeat("n", 200)
	deep := strings.Repeat("d/", 40) + strings.Repeat("deep", 60)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	return [][]byte{
		tarOf(tb,
			tarFile{Name: "./", Mode: 0o751, Uid: 7, Gid: 8},
			tarFile{Name: "./bin/", Mode: 0o1777},
			tarFile{Name: "./bin/su", Mode: 0o6755, Linkname: "su"},
			tarFile{Name: "./bin/ping", Linkname: "ping", PAXRecords: attr("security.capability", capability, "user.note", "a\nb")},
			tarFile{Name: "./bin/ping2", Typeflag: tar.TypeLink, Linkname: "./bin/ping"},
			tarFile{Name: "implied/by/file", Linkname: "x", Uid: 3_000_000_000, Gid: 3_000_000_001},
			tarFile{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666},
			tarFile{Name: "dev/big", Typeflag: tar.TypeBlock, Devmajor: 259, Devminor: 70_000, Mode: 0o660},
			tarFile{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o640},
			tarFile{Name: "old", ModTime: time.Unix(-1000, 0), Linkname: "1969"},
			tarFile{Name: "new", ModTime: time.Unix(5_000_000_000, 0), Linkname: "2128"},
			tarFile{Name: long + "/" + long, Linkname: "long"},
			tarFile{Name: deep, Linkname: "deep"},
			tarFile{Name: "line\nbreak", Linkname: "x"},
			tarFile{Name: "lib", Typeflag: tar.TypeSymlink, Linkname: "usr/lib"},
			tarFile{Name: "usr/lib/a", Linkname: "a"},
			tarFile{Name: "gone/a", Linkname: "a"}, tarFile{Name: "gone/b/c", Linkname: "c"},
			tarFile{Name: "emptied/a", Linkname: "a"}, tarFile{Name: "emptied/b/c", Linkname: "c"},
			tarFile{Name: "replaced/a", Linkname: "a"}, tarFile{Name: "tofile/a", Linkname: "a"},
			tarFile{Name: "todir", Linkname: "was a file"}, tarFile{Name: "kept/", Mode: 0o700, Uid: 5},
			tarFile{Name: "kept/a", Linkname: "a"}, tarFile{Name: "kept/b", Linkname: "b"},
			tarFile{Name: "twice", Linkname: "first"}, tarFile{Name: "twice", Linkname: "second"},
		),
		tarOf(tb,
			tarFile{Name: ".wh.gone"}, tarFile{Name: "emptied/"}, tarFile{Name: "emptied/.wh..wh..opq"},
			tarFile{Name: "emptied/.wh.a"}, tarFile{Name: "emptied/new", Linkname: "n"},
			tarFile{Name: ".wh.replaced"}, tarFile{Name: "replaced/"}, tarFile{Name: "replaced/b", Linkname: "b"},
			tarFile{Name: "tofile", Linkname: "now a file"}, tarFile{Name: "todir/"}, tarFile{Name: "todir/x", Linkname: "x"},
			tarFile{Name: "kept/.wh.a"}, tarFile{Name: "kept/c", Linkname: "c"},
			tarFile{Name: "opaque/before", Linkname: "x"}, tarFile{Name: "opaque/.wh..wh..opq"},
		),
		tarOf(tb,
			tarFile{Name: "kept/", Mode: 0o711, PAXRecords: attr("trusted.mine", "1", "user.u", "\x00\xff")},
			tarFile{Name: "gone/again", Linkname: "again"},
			tarFile{Name: "bin/.wh.su"}, tarFile{Name: "top", Typeflag: tar.TypeSymlink, Linkname: "/bin/../kept"},
		),
	}
}

func TestConvertedLayersShowWhatExtractedOnesDo(t *testing.T) {
	stageLayers(t, func(s *layerStage) {
		var got, want []string
		for _, blob := range layersWithAll(t) {
			dir, _ := s.converted(blob)
			got, want = append(got, dir), append(want, s.extracted(blob))
		}
		compare(t, look(t, s.stack(got)), look(t, s.stack(want)))
	})
}

func TestConvertedSparseFilesAreWhole(t *testing.T) {
	stageLayers(t, func(s *layerStage) {
		tree := s.mkdir("tree")
		name := filepath.Join(tree, "sparse")
		must(t, os.WriteFile(name, []byte("begin"), 0o600))
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		must(t, err)
		for i := range int64(40) {
			_, err := fmt.Fprintf(io.NewOffsetWriter(f, 1<<20*(i+1)), "part %d", i)
			must(t, err)
		}
		must(t, f.Truncate(100<<20))
		must(t, f.Close())
		want := look(t, tree)["sparse"]
		for _, format := range []string{"--format=oldgnu", "--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"} {
			args := []string{"-C", tree, "--sparse", "--numeric-owner", "-cf", "-", format, "."}
			if strings.HasPrefix(format, "--sparse") {
				args = append([]string{"--format=posix"}, args...)
			}
			blob, err := exec.CommandContext(t.Context(), "tar", args...).Output()
			must(t, err)
			if len(blob) > 1<<20 {
				t.Errorf("%s: %d bytes: not sparse", format, len(blob))
			}
			dir, _ := s.converted(blob)
			if got := look(t, dir)["sparse"]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s:\n%+v, want\n%+v", format, got, want)
			}
		}
	})
}
