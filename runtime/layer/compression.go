package layer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/siflet/siflet/runtime/inflate"
)

// maxWindow is the largest zstd window accepted: that of its highest level.
const maxWindow = 128 << 20

// checkType refuses what is known not to be a tar, or not known at all.
func checkType(mediaType string) error {
	base, _, _ := strings.Cut(mediaType, ";")
	base = strings.ToLower(strings.TrimSpace(base))
	if base == "" {
		return nil
	}
	for _, prefix := range []string{
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
	} {
		suffix, ok := strings.CutPrefix(base, prefix)
		if !ok {
			continue
		}
		switch suffix {
		case "", "+gzip", "+zstd", ".gzip", ".zstd":
			return nil
		}
	}
	if strings.HasSuffix(base, "+encrypted") {
		return fmt.Errorf("layer of type %q is encrypted: %w", mediaType, errors.ErrUnsupported)
	}
	return fmt.Errorf("layer of type %q: %w", mediaType, errors.ErrUnsupported)
}

// decoder gives an uncompressed stream piece by piece.
type decoder interface {
	// fill sets a chunk's data and what it knows of it. io.EOF is the end of the stream
	// and nothing else; there may be data with it.
	fill(c *chunk) error
	close()
}

// plain decodes with a reader, and knows nothing of what repeats.
type plain struct {
	r    io.Reader
	stop func()
}

func (d plain) fill(c *chunk) error {
	n, err := 0, error(nil)
	for n < inflate.WindowSize && err == nil {
		var some int
		some, err = d.r.Read(c.window[n:inflate.WindowSize])
		n += some
	}
	c.data, c.repeats, c.known = c.window[:n], nil, false
	return err
}

func (d plain) close() {
	if d.stop != nil {
		d.stop()
	}
}

// decompress knows the compression by how the stream begins.
func decompress(src io.Reader) (decoder, error) {
	in := bufio.NewReaderSize(src, 128<<10)
	magic, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return newGunzip(in), nil
	case isZstd(magic):
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return plain{r, r.Close}, nil
	}
	for prefix, name := range map[string]string{"\xfd7zXZ\x00": "xz", "BZh": "bzip2", "\x04\x22\x4d\x18": "lz4", "hsqs": "squashfs"} {
		if bytes.HasPrefix(magic, []byte(prefix)) {
			return nil, fmt.Errorf("layer is compressed with %s: %w", name, errors.ErrUnsupported)
		}
	}
	return plain{r: in}, nil
}

// isZstd knows a frame, and a skippable one: those come first in some layers.
func isZstd(magic []byte) bool {
	if len(magic) < 4 {
		return false
	}
	return bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		magic[0]&0xf0 == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18
}
