package sif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testdata = "../../../shared/testdata/"

// testFile reads one of the files made by other programs.
func testFile(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(testdata + name)
	if err != nil {
		tb.Skipf("no test data: %v", err)
	}
	return text
}

// squash is the start of a squashfs file system of n bytes.
func squash(n int) []byte {
	b := make([]byte, n)
	copy(b, "hsqs")
	binary.LittleEndian.PutUint16(b[20:], 1)
	binary.LittleEndian.PutUint16(b[28:], 4)
	binary.LittleEndian.PutUint64(b[40:], uint64(n))
	return b
}

// native makes a small SIF: a definition file (slot 0), metadata (1) and a
// primary partition (2).
func native(tb testing.TB) []byte {
	tb.Helper()
	return create(tb,
		Object{Type: TypeDefinition, Data: strings.NewReader("Bootstrap: scratch\n")},
		Object{Type: TypeJSON, Name: "oci-config.json", Data: strings.NewReader(`{"Cmd": ["sh"], "Env": ["A=1"]}`)},
		Object{Type: TypePartition, FS: FSSquash, Part: PartPrimary, Arch: "amd64", Data: bytes.NewReader(squash(4096))},
	)
}

func create(tb testing.TB, objects ...Object) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "x.sif")
	if err := Create(path, Options{Objects: objects, Deterministic: true}); err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func parse(text []byte) (Image, error) {
	f, err := Parse(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return Image{}, err
	}
	if err := f.CheckArch("amd64"); err != nil {
		return Image{}, err
	}
	return f.Image()
}

func put64(at int, v int64) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], uint64(v)); return b }
}

func put32(at int, v uint32) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
}

func putText(at int, v string) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[at:], v); return b }
}

// slot is where a field of a descriptor is.
func slot(n, field int) int { return tableOffset + n*descriptorSize + field }

const (
	fieldUsed, fieldID, fieldOffset, fieldSize, fieldPadded = 4, 5, 17, 25, 33
	fieldName, fieldExtra                                   = 73, 201
	squashAt                                                = 32768
)

func TestOpenNamesTheFieldThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]byte) []byte
		kind   error
		want   string
	}{
		"empty":              {func([]byte) []byte { return nil }, ErrNotSIF, "sif: not a SIF file"},
		"short":              {func(b []byte) []byte { return b[:127] }, ErrNotSIF, "sif: not a SIF file"},
		"magic":              {putText(32, "ELF"), ErrNotSIF, "sif: not a SIF file"},
		"version":            {putText(42, "99"), ErrUnsupported, `header: version is "99"`},
		"header arch":        {putText(45, "04"), ErrArch, "header: architecture is arm64"},
		"header arch code":   {putText(45, "77"), ErrArch, `header: architecture is code "77"`},
		"arch":               {putText(slot(2, fieldExtra+8), "11"), ErrArch, "descriptor 2: architecture is s390x"},
		"arch unknown":       {putText(slot(2, fieldExtra+8), "00"), ErrArch, "descriptor 2: architecture is unknown"},
		"arch rubbish":       {putText(slot(2, fieldExtra+8), "\x1b["), ErrArch, `architecture is code "\\x1b["`},
		"free negative":      {put64(80, -1), ErrCorrupt, "header: free descriptor count -1"},
		"free huge":          {put64(80, 49), ErrCorrupt, "header: free descriptor count 49"},
		"count negative":     {put64(88, -1), ErrCorrupt, "header: descriptor count -1 is negative"},
		"count huge":         {put64(88, 1<<62), ErrCorrupt, "header: descriptor count 4611686018427387904 is more than"},
		"table negative":     {put64(96, -4096), ErrCorrupt, "header: descriptor table offset -4096 is negative"},
		"table outside":      {put64(96, 1<<40), ErrCorrupt, "header: descriptor table offset 1099511627776 is past"},
		"table overflow":     {put64(96, 1<<63-1), ErrCorrupt, "header: descriptor table offset 9223372036854775807 is past"},
		"table in header":    {put64(96, 64), ErrCorrupt, "header: descriptor table offset 64 is inside the header"},
		"table runs out":     {put64(96, 30000), ErrCorrupt, "header: descriptor table of 28080 bytes at offset 30000 runs past"},
		"table too small":    {put64(104, 100), ErrCorrupt, "header: descriptor table size 100 is too small"},
		"table size huge":    {put64(104, 1<<62), ErrCorrupt, "header: descriptor table of 4611686018427387904 bytes"},
		"data offset":        {put64(112, -1), ErrCorrupt, "header: data offset -1"},
		"data size":          {put64(120, -1), ErrCorrupt, "header: data size -1"},
		"used":               {putText(slot(1, fieldUsed), "\x07"), ErrCorrupt, "descriptor 1: used flag is 7"},
		"id zero":            {put32(slot(1, fieldID), 0), ErrCorrupt, "descriptor 1: id 0"},
		"id twice":           {put32(slot(1, fieldID), 1), ErrCorrupt, "descriptor 1: id 1 is also descriptor 0's"},
		"offset negative":    {put64(slot(1, fieldOffset), -5), ErrCorrupt, "descriptor 1: offset -5 is negative"},
		"offset outside":     {put64(slot(2, fieldOffset), 99999), ErrCorrupt, "sif: descriptor 2: offset 99999 is past the end of the file (36864 bytes)"},
		"size negative":      {put64(slot(2, fieldSize), -1), ErrCorrupt, "descriptor 2: size -1 is negative"},
		"size huge":          {put64(slot(2, fieldSize), 1<<63-1), ErrCorrupt, "descriptor 2: object of 9223372036854775807 bytes at offset 32768"},
		"padded negative":    {put64(slot(2, fieldPadded), -1), ErrCorrupt, "descriptor 2: padded size -1"},
		"overlap":            {put64(slot(0, fieldSize), 1000), ErrCorrupt, "descriptor 1: object at offset 32195 (31 bytes) overlaps the descriptor 0"},
		"overlap header":     {put64(slot(0, fieldOffset), 0), ErrCorrupt, "descriptor 0: object at offset 0 (19 bytes) overlaps the header"},
		"overlap table":      {put64(slot(0, fieldOffset), 5000), ErrCorrupt, "descriptor 0: object at offset 5000 (19 bytes) overlaps the descriptor table"},
		"truncated":          {func(b []byte) []byte { return b[:len(b)-1] }, ErrCorrupt, "descriptor 2: object of 4096 bytes at offset 32768 runs past"},
		"truncated table":    {func(b []byte) []byte { return b[:8192] }, ErrCorrupt, "header: descriptor table of 28080 bytes"},
		"file system type":   {put32(slot(2, fieldExtra), 99), ErrCorrupt, "descriptor 2: file system type 99 is unknown"},
		"partition type":     {put32(slot(2, fieldExtra+4), 0), ErrCorrupt, "descriptor 2: partition type 0 is unknown"},
		"encrypted":          {put32(slot(2, fieldExtra), 5), ErrUnsupported, "descriptor 2: file system type: the partition is encrypted"},
		"archive":            {put32(slot(2, fieldExtra), 3), ErrUnsupported, "descriptor 2: file system type: a partition of type archive"},
		"no primary":         {put32(slot(2, fieldExtra+4), 3), ErrUnsupported, "no primary partition"},
		"squashfs magic":     {putText(squashAt, "sqsh"), ErrCorrupt, `descriptor 2: squashfs: superblock magic is "sqsh"`},
		"squashfs version":   {putText(squashAt+28, "\x03"), ErrUnsupported, "descriptor 2: squashfs: version 3.0"},
		"squashfs compress":  {putText(squashAt+20, "\x07"), ErrCorrupt, "descriptor 2: squashfs: unknown compression 7"},
		"squashfs bytes":     {put64(squashAt+40, 4097), ErrCorrupt, "descriptor 2: squashfs: bytes used 4097"},
		"squashfs short":     {put64(slot(2, fieldSize), 95), ErrCorrupt, "descriptor 2: squashfs: 95 bytes are too few"},
		"ext3 magic":         {put32(slot(2, fieldExtra), 2), ErrCorrupt, "descriptor 2: ext3: superblock magic is 0x0000"},
		"oci-config":         {putText(32195, "[]"), ErrCorrupt, "oci-config.json: "},
		"document too large": {func(b []byte) []byte { return oversizedDocument(b) }, ErrCorrupt, "descriptor 1: size 5242880"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.change(native(t)))
			if !errors.Is(err, c.kind) {
				t.Errorf("error %v is not of kind %v", err, c.kind)
			}
			if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// oversizedDocument moves oci-config.json to the end and makes it 5 MiB.
func oversizedDocument(b []byte) []byte {
	b = put64(slot(1, fieldSize), 5<<20)(put64(slot(1, fieldOffset), int64(len(b)))(b))
	return append(b, make([]byte, 5<<20)...)
}

func TestOpenRejectsTwoPrimaryPartitions(t *testing.T) {
	p := func() Object {
		return Object{Type: TypePartition, FS: FSSquash, Part: PartPrimary, Arch: "amd64", Data: bytes.NewReader(squash(4096))}
	}
	_, err := parse(create(t, p(), p()))
	want := "descriptor 1: partition type: a second primary partition, descriptor 0 is one"
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestNamesHaveControlCharactersEscaped(t *testing.T) {
	text := putText(slot(1, fieldName), "a\x1b[31m\n\xff\u202eé\x00hidden")(native(t))
	f, err := Parse(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	if want := `a\x1b[31m\x0a\xff\u202eé`; f.Descriptors[1].Name != want {
		t.Errorf("Name = %q, want %q", f.Descriptors[1].Name, want)
	}
}

func TestOpenRefusesWhatIsNotAFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); !errors.Is(err, ErrNotSIF) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open of a directory = %v, want ErrNotSIF naming it", err)
	}
	if _, err := Open("/dev/null"); !errors.Is(err, ErrNotSIF) {
		t.Errorf("Open of a device = %v, want ErrNotSIF", err)
	}
	if _, err := Open(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of a missing file = %v, want os.ErrNotExist", err)
	}
}

// compact makes a small file with the same header, descriptors and documents:
// the fuzzer is slow on large ones. Large objects keep their first 128 bytes.
func compact(tb testing.TB, text []byte) []byte {
	tb.Helper()
	f, err := Parse(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		tb.Fatal(err)
	}
	n := len(f.Descriptors)
	small := append([]byte(nil), text[:headerSize]...)
	small = append(small, text[tableOffset:tableOffset+n*descriptorSize]...)
	for at, v := range map[int]int{80: 0, 88: n, 96: headerSize, 104: n * descriptorSize, 112: len(small)} {
		put64(at, int64(v))(small)
	}
	for i, d := range f.Descriptors {
		object := text[d.Offset : d.Offset+d.Size]
		if len(object) > 4096 {
			object = put64(40, 128)(append([]byte(nil), object[:128]...))
		}
		put64(headerSize+i*descriptorSize+fieldOffset, int64(len(small)))(small)
		put64(headerSize+i*descriptorSize+fieldSize, int64(len(object)))(small)
		small = append(small, object...)
	}
	return small
}

func FuzzOpen(f *testing.F) {
	seeds := [][]byte{native(f), ociSIF(f, ociFixture{}), ociSIF(f, ociFixture{anonymous: true, layers: []int{1}})}
	for _, name := range []string{"busybox_amd64.sif", "svc.sif", "d.oci.sif"} {
		if text, err := os.ReadFile(testdata + name); err == nil {
			seeds = append(seeds, text)
		}
	}
	for _, text := range seeds {
		f.Add(compact(f, text))
	}
	f.Add(seeds[0][:headerSize])
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			return
		}
		_ = file.CheckArch("amd64")
		_, _ = file.Definition()
		_, _ = file.Labels()
		image, err := file.Image()
		if err != nil {
			return
		}
		for _, e := range image.Extents {
			if e.Offset < headerSize || e.Size <= 0 || e.Offset+e.Size > int64(len(text)) {
				t.Errorf("extent %+v is outside of a file of %d bytes", e, len(text))
			}
		}
	})
}

func TestNothingIsSaidOfAFileThatIsNoSIF(t *testing.T) {
	secret := "root:*:20228:0:99999:7:::\n"
	for _, text := range []string{secret, strings.Repeat(secret, 100)} {
		_, err := Parse(strings.NewReader(text), int64(len(text)))
		if !errors.Is(err, ErrNotSIF) || err.Error() != "sif: not a SIF file" {
			t.Errorf("Parse() = %v, want no more than that it is no SIF file", err)
		}
	}
}
