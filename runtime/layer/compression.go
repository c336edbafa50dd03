package layer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
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

// decoder is an uncompressed stream. Its end is io.EOF and nothing else.
type decoder struct {
	r     io.Reader
	stop  func()
	state error
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil {
		d.state = err
	}
	return n, err
}

// ended tells a complete stream from one that was cut.
func (d *decoder) ended() bool { return errors.Is(d.state, io.EOF) }

func (d *decoder) Close() {
	if d.stop != nil {
		d.stop()
	}
}

// decompress knows the compression by how the stream begins.
func decompress(src io.Reader) (*decoder, error) {
	in := bufio.NewReaderSize(src, 128<<10)
	magic, err := in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return &decoder{r: newGunzip(in)}, nil
	case isZstd(magic):
		r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return &decoder{r: r, stop: r.Close}, nil
	}
	for prefix, name := range map[string]string{"\xfd7zXZ\x00": "xz", "BZh": "bzip2", "\x04\x22\x4d\x18": "lz4", "hsqs": "squashfs"} {
		if bytes.HasPrefix(magic, []byte(prefix)) {
			return nil, fmt.Errorf("layer is compressed with %s: %w", name, errors.ErrUnsupported)
		}
	}
	return &decoder{r: in}, nil
}

// isZstd knows a frame, and a skippable one: those come first in some layers.
func isZstd(magic []byte) bool {
	if len(magic) < 4 {
		return false
	}
	return bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		magic[0]&0xf0 == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18
}
