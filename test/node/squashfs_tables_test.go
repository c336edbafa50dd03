package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	sqfs "github.com/siflet/siflet/runtime/squashfs"
)

// TestLinuxReadsTablesOfSeveralBlocks has as many owners, sets of extended attributes and
// fragments as fill blocks of their tables to the last byte, and one more.
func TestLinuxReadsTablesOfSeveralBlocks(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, n := range []int{2048, 2049, 4096, 4097} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			name := func(i int) string { return "file-" + strconv.Itoa(i) }
			// Two of these fill a block of fragments.
			data := func(i int) string { return fmt.Sprintf("%-2048d", i) }
			path := writeSquashfs(t, sqfs.Options{Compression: sqfs.Gzip, BlockSize: 4096}, func(w *sqfs.Writer) error {
				for i := range n {
					e := sqfs.Entry{
						Path: name(i), Mode: unix.S_IFREG | 0o644, UID: uint32(i), GID: uint32(n - 1 - i), Size: 2048,
						Xattrs: map[string]string{"trusted.number": strconv.Itoa(i), "user.same": "same"},
					}
					if err := w.Add(e, strings.NewReader(data(i))); err != nil {
						return err
					}
				}
				return nil
			})
			dir := mountImage(t, path)
			for i := range n {
				at := filepath.Join(dir, name(i))
				text, err := os.ReadFile(at)
				must(t, err)
				var st unix.Stat_t
				must(t, unix.Lstat(at, &st))
				value := make([]byte, 16)
				size, err := unix.Lgetxattr(at, "trusted.number", value)
				must(t, err)
				if string(text) != data(i) || st.Uid != uint32(i) || st.Gid != uint32(n-1-i) || string(value[:size]) != strconv.Itoa(i) {
					t.Fatalf("file %d: %q, owner %d:%d, number %q", i, strings.TrimSpace(string(text)), st.Uid, st.Gid, value[:size])
				}
			}
		})
	}
}
