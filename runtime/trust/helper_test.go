package trust

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siflet/siflet/runtime/sif"
)

// moduleFile is a file of the sif module's own tests.
func moduleFile(tb testing.TB, name string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sylabs/sif/v2").Output()
	path := filepath.Join(strings.TrimSpace(string(out)), "test", name)
	if err != nil || len(out) < 2 {
		tb.Skipf("no module cache with github.com/sylabs/sif/v2: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("the sif module came without its test data: %v", err)
	}
	return path
}

// moduleKeys are the keys with which the images of the sif module are signed.
func moduleKeys(tb testing.TB, names ...string) []*Key {
	tb.Helper()
	var keys []*Key
	for _, name := range names {
		text, err := os.ReadFile(moduleFile(tb, "keys/"+name))
		if err != nil {
			tb.Fatal(err)
		}
		more, err := ParseKeys(text)
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		keys = append(keys, more...)
	}
	return keys
}

func allModuleKeys(tb testing.TB) []*Key {
	tb.Helper()
	return moduleKeys(tb, "private.asc", "ecdsa-public.pem", "ed25519-public.pem", "rsa-public.pem")
}

// copyFile copies a file to a place where it can be changed.
func copyFile(tb testing.TB, path string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return writeFile(tb, filepath.Join(tb.TempDir(), filepath.Base(path)), text)
}

func writeFile(tb testing.TB, path string, text []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// edit changes a file in memory and writes it back.
func edit(tb testing.TB, path string, change func(text []byte)) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	change(text)
	writeFile(tb, path, text)
}

// slot is the raw descriptor of an object.
func slot(text []byte, id uint32) []byte {
	table := text[binary.LittleEndian.Uint64(text[96:]):]
	for ; len(table) >= descriptorSize; table = table[descriptorSize:] {
		if table[4] == 1 && binary.LittleEndian.Uint32(table[5:]) == id {
			return table[:descriptorSize]
		}
	}
	panic("no such object")
}

// squash passes for a squashfs partition.
func squash(size int, fill byte) []byte {
	text := bytes.Repeat([]byte{fill}, size)
	clear(text[:96])
	le := binary.LittleEndian
	copy(text, "hsqs")
	le.PutUint32(text[12:], 131072)
	le.PutUint16(text[20:], 1)
	le.PutUint16(text[22:], 17)
	le.PutUint16(text[28:], 4)
	le.PutUint64(text[40:], uint64(size))
	return text
}

func primary(text []byte) sif.Object {
	return sif.Object{Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartPrimary, Arch: "amd64", Data: bytes.NewReader(text)}
}

func overlay(text []byte) sif.Object {
	return sif.Object{Type: sif.TypePartition, FS: sif.FSSquash, Part: sif.PartOverlay, Arch: "amd64", Data: bytes.NewReader(text)}
}

func definition(text string) sif.Object {
	return sif.Object{Type: sif.TypeDefinition, Data: strings.NewReader(text)}
}
