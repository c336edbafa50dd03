package node

import (
	"archive/tar"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	conv "github.com/siflet/siflet/runtime/layer"
)

// shownDirectories are the directories of converted layers, lowest first, as the
// highest layer that describes them has them. A lower one that a whiteout, an opaque
// directory or something else than a directory hides does not count.
func shownDirectories(tb testing.TB, dirs []string, results []conv.Result) map[string]conv.Directory {
	tb.Helper()
	shown := map[string]conv.Directory{}
	for i, res := range results {
		hides, empties := map[string]bool{}, map[string]bool{}
		for _, name := range res.Whiteouts {
			hides[name] = true
		}
		for _, name := range res.Opaque {
			empties[name] = true
		}
		for name := range shown {
			for at := name; at != "."; at = path.Dir(at) {
				st, err := os.Lstat(filepath.Join(dirs[i], at))
				if hides[at] || empties[path.Dir(at)] || err == nil && !st.IsDir() {
					delete(shown, name)
				}
			}
		}
		for _, d := range res.Directories {
			shown[d.Path] = d
		}
	}
	return shown
}

// testFlat holds a merge against the overlay of the same layers.
func testFlat(s *layerStage, layers [][]byte) {
	s.tb.Helper()
	var dirs []string
	var results []conv.Result
	for _, blob := range layers {
		dir, res := s.converted(blob)
		dirs, results = append(dirs, dir), append(results, res)
	}
	want := look(s.tb, s.stack(dirs))
	shown := shownDirectories(s.tb, dirs, results)
	for name, e := range want {
		if e.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if d, ok := shown[name]; ok {
			e.Mode, e.UID, e.GID, e.Time, e.Xattrs = d.Mode, d.UID, d.GID, min(max(d.Time, 0), 1<<32-1), d.Xattrs
			want[name] = e
		}
	}
	compare(s.tb, look(s.tb, s.flat(layers)), want)
}

func TestFlatShowsWhatTheOverlayOfLayersDoes(t *testing.T) {
	stageLayers(t, func(s *layerStage) { testFlat(s, layersWithAll(t)) })
}

func TestFlatKeepsLinksToWhatIsHidden(t *testing.T) {
	big := strings.Repeat("0123456789", 50_000)
	stageLayers(t, func(s *layerStage) {
		testFlat(s, [][]byte{
			tarOf(t,
				tarFile{Name: "a/file", Linkname: big, Mode: 0o640}, tarFile{Name: "a/empty"},
				tarFile{Name: "b", Typeflag: tar.TypeLink, Linkname: "a/file"},
				tarFile{Name: "c", Typeflag: tar.TypeLink, Linkname: "b"},
				tarFile{Name: "d", Typeflag: tar.TypeLink, Linkname: "a/empty"},
				tarFile{Name: "a/link", Typeflag: tar.TypeSymlink, Linkname: "x"},
				tarFile{Name: "e", Typeflag: tar.TypeLink, Linkname: "a/link"},
				tarFile{Name: "f", Linkname: "early"}, tarFile{Name: "g", Typeflag: tar.TypeLink, Linkname: "f"},
			),
			tarOf(t, tarFile{Name: ".wh.a"}, tarFile{Name: "g", Linkname: "other"}),
		})
	})
}

// randomLayer is a layer of few names, so that layers meet.
func randomLayer(tb testing.TB, r *rand.Rand) []byte {
	tb.Helper()
	used := map[string]byte{".": tar.TypeDir}
	var files []tarFile
	var regular []string
	for range 2 + r.IntN(14) {
		dir := "."
		name := ""
		for range 1 + r.IntN(3) {
			name = path.Join(dir, string(rune('a'+r.IntN(4))))
			if used[name] != 0 && used[name] != tar.TypeDir {
				break
			}
			dir = name
		}
		if used[name] != 0 {
			continue
		}
		for at := path.Dir(name); used[at] == 0; at = path.Dir(at) {
			used[at] = tar.TypeDir
		}
		h := tarFile{
			Name: name, Mode: int64(0o400 | r.IntN(0o1000)), Uid: r.IntN(5), Gid: r.IntN(5),
			ModTime: time.Unix(1_000_000+r.Int64N(1000), 0),
		}
		kind := r.IntN(12)
		switch {
		case kind < 3:
			h.Typeflag, h.PAXRecords = tar.TypeDir, attr("user.n", strconv.Itoa(r.IntN(3)))
		case kind < 5:
			h.Linkname = strings.Repeat(name, r.IntN(100))
			regular = append(regular, name)
		case kind == 5:
			h.Typeflag, h.Linkname = tar.TypeSymlink, name
		case kind == 6 && len(regular) > 0:
			h.Typeflag, h.Linkname = tar.TypeLink, regular[r.IntN(len(regular))]
		case kind == 7:
			h.Typeflag = tar.TypeFifo
		case kind == 8 && name != ".":
			// Of a directory that has something already or will get it.
			used[path.Dir(name)] = tar.TypeDir
			files = append(files, tarFile{Name: path.Join(path.Dir(name), ".wh..wh..opq"), Typeflag: tar.TypeReg})
			continue
		default:
			// The name may still come, before or after.
			dir, base := path.Split(name)
			files = append(files, tarFile{Name: dir + ".wh." + base, Typeflag: tar.TypeReg})
			continue
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		used[name] = h.Typeflag
		files = append(files, h)
	}
	return tarOf(tb, files...)
}

func TestFlatShowsWhatTheOverlayOfRandomLayersDoes(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var layers [][]byte
			for range 2 + r.IntN(4) {
				layers = append(layers, randomLayer(t, r))
			}
			stageLayers(t, func(s *layerStage) { testFlat(s, layers) })
		})
	}
}

func TestConvertedRandomLayersShowWhatExtractedOnesDo(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			stageLayers(t, func(s *layerStage) {
				var got, want []string
				for range 2 + r.IntN(3) {
					blob := randomLayer(t, r)
					dir, _ := s.converted(blob)
					got, want = append(got, dir), append(want, s.extracted(blob))
				}
				compare(t, look(t, s.stack(got)), look(t, s.stack(want)))
			})
		})
	}
}
