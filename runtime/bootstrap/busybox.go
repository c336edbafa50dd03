package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

const (
	// maxBusybox is far more than the program ever was.
	maxBusybox = 64 << 20
	// patience is how long its server may take.
	patience = 10 * time.Minute
)

func sha256Sum() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) }

// busybox installs the one program, and a link for each command that it is.
func busybox(h *header, _ string) plan {
	from := h.need("mirrorurl", "https://busybox.net/downloads/binaries/1.35.0-x86_64-linux-musl/busybox")
	if strings.HasPrefix(from, "/") {
		from = "file://" + from
	}
	from = h.url("mirrorurl", from, "https", "http", "file")
	sum := h.word("fingerprints", sha256Sum())
	p := plan{finish: func(ctx context.Context, root *os.Root) error {
		program, err := fetch(ctx, from)
		if err != nil {
			return err
		}
		if got := sha256.Sum256(program); sum != "" && sum != "sha256:"+hex.EncodeToString(got[:]) {
			return fmt.Errorf("%s is sha256:%x, not %s as the header says", from, got, sum)
		}
		return installBusybox(root, program, from)
	}}
	if strings.HasPrefix(from, "http://") && sum == "" {
		p.warnings = []string{"nobody vouches for what comes from " + from + ": use https, or a line \"fingerprints: sha256:...\""}
	}
	return p
}

// fetch reads a small file from where its address says.
func fetch(ctx context.Context, from string) ([]byte, error) {
	if name, ok := strings.CutPrefix(from, "file://"); ok {
		if unescaped, err := url.PathUnescape(name); err == nil {
			name = unescaped
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		text, err := limited(f, from)
		return text, errors.Join(err, f.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or of no use
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server says %s", from, resp.Status)
	}
	text, err := limited(resp.Body, from)
	if err == nil && resp.ContentLength >= 0 && int64(len(text)) != resp.ContentLength {
		err = fmt.Errorf("%s: %d bytes came of %d", from, len(text), resp.ContentLength)
	}
	return text, err
}

func limited(r io.Reader, from string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxBusybox+1))
	if err == nil && len(text) > maxBusybox {
		err = fmt.Errorf("%s: it is larger than %d bytes: this is no busybox", from, maxBusybox)
	}
	return text, err
}

// installBusybox writes the program and its links. It runs nothing: what was fetched runs in
// a container only.
func installBusybox(root *os.Root, program []byte, from string) error {
	binary, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("%s: it is no program for Linux: %w", from, err)
	}
	for _, part := range binary.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s: it needs libraries, which would not be there: take one that is linked statically", from)
		}
	}
	names := applets(program)
	if len(names) == 0 {
		return fmt.Errorf("%s: it is no busybox: there are no names of commands in it", from)
	}
	for _, dir := range []string{"bin", "etc"} {
		if err := root.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := root.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"bin/busybox": string(program), "etc/passwd": "root:!:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n",
	} {
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if name == "bin/busybox" {
			mode = 0o755
		}
		if err := root.Chmod(name, mode); err != nil {
			return err
		}
	}
	for _, name := range names {
		if name == "busybox" {
			continue
		}
		if err := root.Symlink("busybox", "bin/"+name); err != nil {
			return err
		}
	}
	return nil
}

func appletName() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_\[][a-zA-Z0-9_.+\[-]*$`) }

// applets are the names of the commands that a busybox is: they are in it in the order of
// the alphabet, each with a zero byte after it, and a second one at the end.
func applets(program []byte) []string {
	at := bytes.Index(program, []byte("\x00[\x00[[\x00"))
	if at < 0 {
		return nil
	}
	var names []string
	before := ""
	valid := appletName()
	for rest := program[at+1:]; ; {
		end := bytes.IndexByte(rest, 0)
		if end <= 0 {
			return names
		}
		name := string(rest[:end])
		if !valid.MatchString(name) || name <= before {
			return names
		}
		names = append(names, name)
		before, rest = name, rest[end+1:]
	}
}
