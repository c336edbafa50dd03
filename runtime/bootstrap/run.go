package bootstrap

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// plan is what fills a directory.
type plan struct {
	// files are written to the temporary directory first, by name.
	files    map[string]string
	commands []command
	warnings []string
	// finish does what no tool does, if not nil.
	finish func(ctx context.Context, root *os.Root) error
}

// command is a program to run: the first of tools that is there.
type command struct {
	tools []tool
	// packages are those of Debian and others that have one of the tools.
	install string
	// accepts are exit codes that mean success too.
	accepts int
}

type tool struct {
	name string
	args []string
}

// grace is how long a tool has to take away what it mounted when it is to end.
const grace = 20 * time.Second

func (p plan) carryOut(ctx context.Context, dir, temp string, o Options) error {
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(temp, name), []byte(text), 0o644); err != nil { //nolint:gosec // tools may change users
			return err
		}
	}
	for _, c := range p.commands {
		if err := c.run(ctx, temp, o); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // open for reading
	if p.finish != nil {
		if err := p.finish(ctx, root); err != nil {
			return err
		}
	}
	// Some tools leave the directory to its owner alone.
	return root.Chmod(".", 0o755)
}

func (c command) run(ctx context.Context, temp string, o Options) error {
	path, args, err := c.find()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s has to be run by root: use sudo, or --fakeroot", filepath.Base(path))
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	p := linux.HostProcess{Args: append([]string{path}, args...), Env: environment(temp, o.Time), Dir: "/", Stdout: o.Stdout, Stderr: o.Stderr, Feign: o.Feign}
	if p.Stdout == nil {
		p.Stdout = null
	}
	if p.Stderr == nil {
		p.Stderr = null
	}
	code, signal, err := linux.RunOnHost(ctx, p, grace)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case signal != 0:
		return fmt.Errorf("%s was killed by signal %d", filepath.Base(path), signal)
	case code != 0 && code != c.accepts:
		return fmt.Errorf("%s: exit status %d; its messages say more", filepath.Base(path), code)
	}
	return nil
}

func (c command) find() (path string, args []string, err error) {
	var names []string
	for _, t := range c.tools {
		for dir := range strings.SplitSeq(searchPath, ":") {
			if info, err := os.Stat(filepath.Join(dir, t.name)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return filepath.Join(dir, t.name), t.args, nil
			}
		}
		names = append(names, t.name)
	}
	return "", nil, fmt.Errorf("%s is not on this machine: install it (%s), or begin with an image, as in \"Bootstrap: docker\"",
		strings.Join(names, " or "), c.install)
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is that of tools: nothing of the caller's but how to reach the network.
func environment(temp string, at time.Time) []string {
	env := []string{"PATH=" + searchPath, "LC_ALL=C.UTF-8", "HOME=" + temp, "TMPDIR=" + temp, "DEBIAN_FRONTEND=noninteractive"}
	for _, name := range []string{
		"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	if !at.IsZero() {
		env = append(env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(at.Unix(), 10))
	}
	return env
}
