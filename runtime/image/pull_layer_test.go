package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/siflet/siflet/test/registrytest"
)

func TestALayerThatLiesIsRefusedAndNothingLeft(t *testing.T) {
	good := registrytest.Layer(t, registrytest.Gzip, registrytest.File("a", "a"))
	plain := registrytest.Tar(t, registrytest.File("b", strings.Repeat("b", 5000)))
	packed := registrytest.Compress(t, plain, registrytest.Gzip)
	other := registrytest.Tar(t, registrytest.File("c", "c"))
	mediaType := must2(t)(good.MediaType())
	for name, c := range map[string]struct {
		layer v1.Layer
		fault func(reg *registrytest.Server, digest string)
		want  string
	}{
		"another content than the config says": {registrytest.Raw(packed, other, mediaType), nil, "unpacks to"},
		"cut short":                            {registrytest.Raw(packed[:len(packed)-20], plain, mediaType), nil, "corrupt"},
		"no tar":                               {registrytest.Raw([]byte(strings.Repeat("no tar", 1000)), plain, mediaType), nil, "corrupt"},
		"a flipped bit": {
			registrytest.LayerOf(t, registrytest.Gzip, plain),
			func(reg *registrytest.Server, digest string) { reg.WrongBytes(digest, int64(len(packed)-3)) }, "corrupt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := registrytest.New(t), t.TempDir()
			img := registrytest.Image(t, v1.Config{}, good, c.layer)
			reg.Push(t, "web", img)
			if c.fault != nil {
				_, layers, _ := digests(t, img)
				c.fault(reg, layers[1])
			}
			s := openWith(t, reg, dir)
			_, err := s.Pull(t.Context(), reg.Host+"/web", PullOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "layer 2 (sha256:") {
				t.Errorf("Pull = %v, want layer 2 refused: %s", err, c.want)
			}
			t.Log(err)
			if left := contents(t, dir); left != nil {
				t.Errorf("%v were left", left)
			}
		})
	}
}

func must2(tb testing.TB) func(types.MediaType, error) types.MediaType {
	tb.Helper()
	return func(m types.MediaType, err error) types.MediaType {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return m
	}
}

func TestLayersThatAreSquashfsStayAsTheyAre(t *testing.T) {
	squash := make([]byte, 4096)
	copy(squash, "hsqs")
	binary.LittleEndian.PutUint16(squash[20:], 1)
	binary.LittleEndian.PutUint16(squash[28:], 4)
	for name, c := range map[string]struct {
		content   []byte
		mediaType types.MediaType
		want      string
	}{
		"squashfs":       {squash, squashfsLayer, ""},
		"not a squashfs": {append([]byte("xxxx"), squash[4:]...), squashfsLayer, "magic"},
		"too short":      {squash[:50], squashfsLayer, "too few"},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := registrytest.New(t), t.TempDir()
			img := registrytest.Image(t, v1.Config{}, registrytest.Raw(c.content, nil, c.mediaType))
			reg.Push(t, "app", img)
			s := openWith(t, reg, dir)
			got, err := s.Pull(t.Context(), reg.Host+"/app", PullOptions{})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Pull = %v, want it refused: %s", err, c.want)
				}
				if left := contents(t, dir); left != nil {
					t.Errorf("%v were left", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(got.Extents[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			stored := make([]byte, got.Extents[0].Size)
			if _, err := f.ReadAt(stored, got.Extents[0].Offset); err != nil || !bytes.Equal(stored, c.content) {
				t.Errorf("the layer differs from what was pulled (%v)", err)
			}
		})
	}
}
