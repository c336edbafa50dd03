package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// bigLayer is one layer of the image that is pulled.
type bigLayer struct {
	files int
	size  int64 // of all of them
}

// bigLayers are 1 GiB in 56,000 files; as tar.gz they are 670 MiB.
func bigLayers() []bigLayer {
	return []bigLayer{{3000, 80 << 20}, {23000, 410 << 20}, {14000, 260 << 20}, {12000, 200 << 20}, {4000, 74 << 20}}
}

// content makes file contents that compress, and unpack, as programs and their
// data do: literals of an uneven distribution, and now and then something that
// was there before.
type content struct {
	literals [256]byte
}

func newContent() *content {
	c, rng := &content{}, rand.New(rand.NewPCG(1, 2))
	for i := range c.literals {
		c.literals[i] = byte(rng.IntN(256) * rng.IntN(256) / 256)
	}
	return c
}

func (c *content) fill(b []byte, seed uint64) {
	const (
		repeats = 11 // of 100 steps
		window  = 16 << 10
		first   = 64
	)
	rng := rand.New(rand.NewPCG(seed, 7))
	for i := 0; i < len(b); {
		r := rng.Uint64()
		if i <= first || r%100 >= repeats {
			for shift := 8; shift < 56 && i < len(b); shift += 8 {
				b[i] = c.literals[byte(r>>shift)]
				i++
			}
			continue
		}
		length, back := 4+int(r>>8&31), min(i, 4+int(r>>16)%min(i, window))
		for ; length > 0 && i < len(b); length-- {
			b[i] = b[i-back]
			i++
		}
	}
}

// writeLayer writes a layer's tar.
func (c *content) writeLayer(w io.Writer, number int, l bigLayer) error {
	archive := tar.NewWriter(w)
	if number == 0 {
		if err := addBusybox(archive); err != nil {
			return err
		}
	}
	sizes := fileSizes(l, uint64(number))
	buf, dir := make([]byte, 0, 1<<20), ""
	stamp := time.Unix(1_700_000_000, 0)
	for i, size := range sizes {
		if next := fmt.Sprintf("opt/layer%d/%03d", number, i/100); next != dir {
			dir = next
			if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: stamp}); err != nil {
				return err
			}
		}
		head := &tar.Header{Name: fmt.Sprintf("%s/file-%d", dir, i), Mode: 0o644, Size: size, ModTime: stamp}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if int64(cap(buf)) < size {
			buf = make([]byte, size)
		}
		c.fill(buf[:size], uint64(number)<<32|uint64(i))
		if _, err := archive.Write(buf[:size]); err != nil {
			return err
		}
	}
	return archive.Close()
}

// addBusybox makes an image of it that can run something.
func addBusybox(archive *tar.Writer) error {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	err = archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/sleep", Mode: 0o755, Size: int64(len(program))})
	if err != nil {
		return err
	}
	_, err = archive.Write(program)
	return err
}

// fileSizes spreads a layer's size over its files: many small ones, few large ones.
func fileSizes(l bigLayer, seed uint64) []int64 {
	rng := rand.New(rand.NewPCG(seed, 3))
	weights, sum := make([]float64, l.files), 0.0
	for i := range weights {
		weights[i] = math.Exp(rng.NormFloat64() * 1.8)
		sum += weights[i]
	}
	sizes := make([]int64, l.files)
	for i, weight := range weights {
		sizes[i] = int64(weight / sum * float64(l.size))
	}
	return sizes
}

// pushBig pushes the image to ref and returns its layers.
func pushBig(ctx context.Context, dir, ref string) ([]v1.Layer, error) {
	var layers []v1.Layer
	for i, l := range bigLayers() {
		path := filepath.Join(dir, fmt.Sprintf("layer-%d.tar.gz", i))
		if err := compressLayer(path, i, l); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromFile(path, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return layers, push(ctx, ref, layers)
}

func compressLayer(path string, number int, l bigLayer) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(f)
	err = newContent().writeLayer(zip, number, l)
	return errors.Join(err, zip.Close(), f.Close())
}

// push pushes an image of these layers that sleeps.
func push(ctx context.Context, ref string, layers []v1.Layer) error {
	to, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		return err
	}
	config, err := empty.Image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Entrypoint = "linux", goruntime.GOARCH, sleeper()
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
	if err != nil {
		return err
	}
	if image, err = mutate.AppendLayers(image, layers...); err != nil {
		return err
	}
	return remote.Write(to, image, remote.WithContext(ctx), remote.WithJobs(1))
}

// smallLayer is a layer that no other image has.
func smallLayer(text string) (v1.Layer, error) {
	var buf bytes.Buffer
	archive := tar.NewWriter(&buf)
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/motd", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = archive.Write([]byte(text))
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

// serveRegistry serves a registry that keeps its blobs in dir, until the
// function it returns is called. served counts the bytes of answers.
func serveRegistry(ctx context.Context, dir string) (host string, served *atomic.Int64, stop func() error, err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	served = new(atomic.Int64)
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)), registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w = &countingWriter{w, served}
		}
		handler.ServeHTTP(w, r)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	return listener.Addr().String(), served, func() error {
		err := server.Close()
		if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}, nil
}

// countingWriter counts what it writes.
type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

// ReadFrom lets the kernel copy, as a registry would.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.n.Add(n)
	return n, err
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.n.Add(int64(n))
	return n, err
}
