package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/siflet/siflet/test/samples"
)

const tarType = "application/vnd.oci.image.layer.v1.tar+gzip"

// archive writes a tar; Linkname is a regular file's content.
func archive(tb testing.TB, headers ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		data := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			data, h.Linkname = h.Linkname, ""
			h.Size = int64(len(data))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func output(tb testing.TB) *os.File {
	tb.Helper()
	f, err := os.OpenFile(filepath.Join(tb.TempDir(), "layer"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

func convert(tb testing.TB, blob []byte, o Options) (Result, error) {
	tb.Helper()
	return Convert(tb.Context(), bytes.NewReader(blob), tarType, output(tb), o)
}

func TestConvertKnowsCompressionByItsMagic(t *testing.T) {
	plain := append(archive(t, tar.Header{Name: "a", Linkname: strings.Repeat("data", 300_000)}), "after the end"...)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	half := len(plain) / 2
	want := fmt.Sprintf("sha256:%x", sha256.Sum256(plain))
	for name, blob := range map[string][]byte{
		"plain": plain, "gzip": zip(t, plain, 6),
		"gzip members": append(zip(t, plain[:half], 6), zip(t, plain[half:], 1)...),
		"zstd":         encoder.EncodeAll(plain, nil),
		"zstd frames":  encoder.EncodeAll(plain[half:], encoder.EncodeAll(plain[:half], []byte("\x51\x2a\x4d\x18\x01\x00\x00\x00x"))),
	} {
		for _, mediaType := range []string{tarType, "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar", ""} {
			src := bytes.NewReader(blob)
			res, err := Convert(t.Context(), src, mediaType, output(t), Options{})
			if err != nil || res.DiffID != want || res.TarSize != int64(len(plain)) || res.Entries != 1 || src.Len() != 0 {
				t.Errorf("%s as %q: %+v, %v, %d bytes unread", name, mediaType, res, err, src.Len())
			}
		}
	}
}

func TestConvertRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, mediaType := range []string{tarType + "+encrypted", "application/vnd.oci.image.layer.v1.tar+xz", "application/vnd.sylabs.image.layer.v1.squashfs"} {
		_, err := Convert(t.Context(), bytes.NewReader(archive(t)), mediaType, output(t), Options{})
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), mediaType) {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
	if _, err := convert(t, []byte("\xfd7zXZ\x00 and so on"), Options{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("xz: %v", err)
	}
}

func TestConvertRefusesCorruptLayers(t *testing.T) {
	whole := archive(t, tar.Header{Name: "some/file", Linkname: strings.Repeat("x", 5000)})
	random := rand.New(rand.NewPCG(1, 2))
	packed := zip(t, archive(t, tar.Header{Name: "some/file", Linkname: string(samples.Mixed(random, 50_000))}), 6)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 4
	long := strings.Repeat("n", 256)
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
	}
	for name, c := range map[string]struct {
		blob []byte
		o    Options
		says string
	}{
		"cut tar":               {whole[:3000], Options{}, "some/file"},
		"cut gzip":              {packed[:len(packed)-9], Options{}, "unexpected EOF"},
		"no checksum":           {packed[:len(packed)-2], Options{}, "unexpected EOF"},
		"flipped bit":           {flipped, Options{}, "decompress"},
		"garbage after gzip":    {append(bytes.Clone(packed), "garbage"...), Options{}, "decompress"},
		"no tar":                {bytes.Repeat([]byte("no tar"), 1000), Options{}, "invalid tar header"},
		"link to nothing":       {archive(t, link("a", "not/here")), Options{}, `"a": hard link to "not/here"`},
		"link before":           {archive(t, link("a", "b"), tar.Header{Name: "b"}), Options{}, `"a": hard link to "b"`},
		"link to itself":        {archive(t, tar.Header{Name: "a"}, link("a", "a")), Options{}, `hard link to "a"`},
		"link to directory":     {archive(t, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, link("a", "d")), Options{}, "directory"},
		"below a file":          {archive(t, tar.Header{Name: "a"}, tar.Header{Name: "a/b"}), Options{}, `"a" is no directory`},
		"whiteout of nothing":   {archive(t, tar.Header{Name: "a/.wh."}), Options{}, "whiteout of nothing"},
		"whiteout of the dir":   {archive(t, tar.Header{Name: "a/.wh..."}), Options{}, "whiteout of nothing"},
		"long name":             {archive(t, tar.Header{Name: long}), Options{}, "256 bytes between"},
		"long path":             {archive(t, tar.Header{Name: strings.Repeat("d/", 2100) + "f"}), Options{}, "name of"},
		"unknown type":          {archive(t, tar.Header{Name: "V", Typeflag: 'V'}), Options{}, "unknown type"},
		"device out of range":   {archive(t, tar.Header{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 4096}), Options{}, "device number"},
		"last uid":              {archive(t, tar.Header{Name: "a", Uid: 1<<32 - 1}), Options{}, "uid"},
		"loop":                  {archive(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "a/a"}, tar.Header{Name: "a/b"}), Options{}, "symbolic links"},
		"more bytes than may":   {zip(t, make([]byte, 10<<20), 9), Options{MaxSize: 1 << 20}, "more than 1048576 bytes"},
		"more entries than may": {archive(t, tar.Header{Name: "a"}, tar.Header{Name: "b"}), Options{MaxEntries: 1}, "more than 1 entries"},
		"longer names than may": {archive(t, tar.Header{Name: "a"}, tar.Header{Name: "bc", Typeflag: tar.TypeSymlink, Linkname: "def"}), Options{MaxNames: 5}, "more than 5 bytes of names"},
		"xattrs that are too big": {archive(t, tar.Header{Name: "a", PAXRecords: map[string]string{
			"SCHILY.xattr.user.x": strings.Repeat("v", 65<<10),
		}}), Options{}, "extended attribute"},
	} {
		_, err := convert(t, c.blob, c.o)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an ErrCorrupt that says %q", name, err, c.says)
		}
	}
}

func TestConvertCountsHolesAgainstItsLimit(t *testing.T) {
	// A GNU sparse file of 1 TiB and no data.
	h := make([]byte, 512)
	copy(h, "hole")
	copy(h[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        S")
	copy(h[257:], "ustar  \x00")
	copy(h[386:], "20000000000000"[:12])
	copy(h[483:], "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	_, err := convert(t, append(h, make([]byte, 1024)...), Options{MaxSize: 1 << 30})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("err = %v, want ErrCorrupt", err)
	}
}

func TestConvertNeverLeavesTheImage(t *testing.T) {
	res, err := convert(t, archive(t,
		tar.Header{Name: "../../up/", Typeflag: tar.TypeDir},
		tar.Header{Name: "/etc/passwd", Linkname: "root"},
		tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "../../.."},
		tar.Header{Name: "out/inside/", Typeflag: tar.TypeDir},
		tar.Header{Name: "abs", Typeflag: tar.TypeSymlink, Linkname: "/usr/./share"},
		tar.Header{Name: "abs/doc/", Typeflag: tar.TypeDir},
		tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "../out/../etc/passwd"},
		tar.Header{Name: "..", Typeflag: tar.TypeDir, Mode: 0o700},
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range res.Directories {
		got = append(got, fmt.Sprintf("%s %o", d.Path, d.Mode))
	}
	want := []string{". 40700", "inside 40755", "up 40755", "usr/share/doc 40755"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"etc", "usr", "usr/share"}, res.Implicit); diff != "" {
		t.Error(diff)
	}
}

func TestConvertTellsWhatItHidesAndLoses(t *testing.T) {
	acl := func(tags ...uint16) string {
		b := []byte{2, 0, 0, 0}
		for _, tag := range tags {
			b = append(b, byte(tag), 0, 7, 0, 0xff, 0xff, 0xff, 0xff)
		}
		return string(b)
	}
	res, err := convert(t, archive(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Name: ".wh..wh.plnk/", Typeflag: tar.TypeDir}, tar.Header{Name: ".wh..wh.plnk/1.2"},
		tar.Header{Name: "a/.wh.b"}, tar.Header{Name: ".wh.d"}, tar.Header{Name: "d/e"},
		tar.Header{Name: "o/.wh..wh..opq"}, tar.Header{Name: "o/.wh.x"},
		tar.Header{Name: "x/", Typeflag: tar.TypeDir, PAXRecords: map[string]string{
			"SCHILY.xattr.system.posix_acl_access":  acl(1, 2, 4, 0x10, 0x20),
			"SCHILY.xattr.system.posix_acl_default": acl(1, 4, 0x20),
			"SCHILY.xattr.trusted.overlay.redirect": "/etc",
			"SCHILY.xattr.user.overlay.opaque":      "y",
			"SCHILY.xattr.user.both":                "schily",
			"LIBARCHIVE.xattr.user.both":            "bGli",
			"LIBARCHIVE.xattr.user.a%20b":           "bGli",
		}},
		tar.Header{Name: "y", PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": acl(1, 4, 0x20)}},
	), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"system.posix_acl_access": 1, "system.posix_acl_default": 1}, res.Lost); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a/b", "d"}, res.Whiteouts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"d", "o"}, res.Opaque); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{".", "a", "d", "o"}, res.Implicit); diff != "" {
		t.Error(diff)
	}
	want := []Directory{{Path: "x", Mode: 0o40755, Xattrs: map[string]string{"user.both": "schily", "user.a b": "lib"}}}
	if diff := cmp.Diff(want, res.Directories); diff != "" {
		t.Error(diff)
	}
}

// hanging gives some bytes and then nothing until it is closed.
type hanging struct {
	r      io.Reader
	hung   chan struct{}
	closed chan struct{}
}

func (h *hanging) Read(p []byte) (int, error) {
	if n, err := h.r.Read(p); err == nil {
		return n, nil
	}
	close(h.hung)
	<-h.closed
	return 0, errors.New("closed")
}

func TestConvertEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	packed := zip(t, archive(t, tar.Header{Name: "a", Linkname: strings.Repeat("x", 5<<20)}), 6)
	h := &hanging{r: bytes.NewReader(packed[:len(packed)/2]), hung: make(chan struct{}), closed: make(chan struct{})}
	context.AfterFunc(ctx, func() { close(h.closed) })
	go func() {
		<-h.hung
		cancel()
	}()
	if _, err := Convert(ctx, h, tarType, output(t), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want Canceled", err)
	}
}

func TestConvertGivesTheErrorsOfItsBlob(t *testing.T) {
	want := errors.New("connection lost")
	packed := zip(t, archive(t, tar.Header{Name: "a", Linkname: strings.Repeat("x", 5<<20)}), 6)
	for _, blob := range [][]byte{packed, packed[:len(packed)/2], nil} {
		src := io.MultiReader(bytes.NewReader(blob), errReader{want})
		_, err := Convert(t.Context(), src, tarType, output(t), Options{})
		if !errors.Is(err, want) || errors.Is(err, ErrCorrupt) {
			t.Errorf("after %d bytes: %v, want %v and no ErrCorrupt", len(blob), err, want)
		}
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }
