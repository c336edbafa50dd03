package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// sniffed is how much of a file its kind shows in: a tar's is at byte 257.
const sniffed = 512

// sifFile reads the beginning of a file, to refuse all that is no SIF file before the
// rest of it comes.
func sifFile(r io.ReadCloser) (io.ReadCloser, error) {
	head, err := io.ReadAll(io.LimitReader(r, sniffed))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if what := otherThanSIF(head); what != "" {
		return nil, errors.Join(fmt.Errorf("%w: it is no SIF file but %s", ErrUnsupported, what), r.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r), r}, nil
}

// otherThanSIF says what a file is that is no SIF file, and what to do with it;
// empty for a SIF file.
func otherThanSIF(head []byte) string {
	const (
		launch, magic = 32, "SIF_MAGIC"
		tarAt, tarIs  = 257, "ustar"
	)
	has := func(at int, text string) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(text)) }
	plain, _, _ := strings.Cut(http.DetectContentType(head), ";")
	packed := compression(head)
	switch {
	case has(launch, magic):
		return ""
	case len(head) == 0:
		return "empty"
	case plain == "text/html":
		return "a web page: it may ask for a login, or have a link to the file itself; give that link's address"
	case has(tarAt, tarIs):
		return "a tar archive; if it has an image, download it and use docker-archive:FILE or oci-archive:FILE"
	case packed != "":
		return "a file compressed with " + packed + "; if it is an archive of an image, download it and use docker-archive:FILE or oci-archive:FILE"
	case has(0, "hsqs"):
		return "a bare squashfs file system; put it in a SIF file with singularity or apptainer first"
	case plain == "application/octet-stream":
		return "something unknown"
	default:
		return plain + "; is the address right?"
	}
}
