package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// The descriptors of siflet-action.
const (
	requestFD = 3
	reportFD  = 4
)

// image prepares the exec and says what it is of.
func (e *entry) image(useAction bool) (*linux.Image, string, error) {
	if useAction {
		image, err := linux.NewImage("", e.action, []string{"siflet-action", "3", "4"}, actionEnv(e.env))
		return image, "siflet-action", err
	}
	if len(e.p.Args) == 0 {
		return nil, "", fail(kindInvalid, errors.New("no command, and the image names none"), "exec")
	}
	name := e.p.Args[0]
	file, err := lookUp(name, e.env)
	if err != nil {
		return nil, "", err
	}
	image, err := linux.NewImage(file, -1, e.p.Args, e.env)
	if err != nil {
		return nil, "", fail(kindInvalid, err, "exec %q", name)
	}
	return image, name, nil
}

// actionEnv is siflet-action's own environment: what it starts gets the request's. One
// processor is enough for it, and with more it would take more threads of the container's limit.
func actionEnv(env []string) []string {
	own := []string{"GOMAXPROCS=1"}
	for _, v := range env {
		if strings.HasPrefix(v, "HOME=") {
			own = append(own, v)
		}
	}
	return own
}

// passRequest puts the action's request and the status socket where it expects
// them. From the exec on the socket is the action's to close.
func (e *entry) passRequest() error {
	request, err := linux.MemFile("request", e.p.Action)
	if err != nil {
		return err
	}
	if err := linux.MoveTo(statusFD, reportFD); err != nil {
		return err
	}
	return linux.MoveTo(int(request), requestFD)
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookUp finds a command as the C library's execvp does.
func lookUp(name string, env []string) (string, error) {
	step := fmt.Sprintf("exec %q", name)
	if strings.Contains(name, "/") {
		// The kernel says what is wrong with it.
		return name, nil
	}
	search := defaultPath
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	denied := false
	if name != "" {
		for dir := range strings.SplitSeq(search, ":") {
			file := path.Join(dir, name)
			if dir == "" {
				file = "./" + name
			}
			err := linux.Executable(file)
			if err == nil {
				return file, nil
			}
			denied = denied || errors.Is(err, linux.EACCES)
		}
	}
	if denied {
		return "", fail(kindPermission, errors.New("permission denied"), "%s", step)
	}
	return "", fail(kindNotFound, errors.New("executable file not found in $PATH"), "%s", step)
}

// execFailure explains what the kernel said of an exec.
func execFailure(what string, err error) error {
	kind := ""
	switch {
	case errors.Is(err, fs.ErrNotExist) && linux.Executable(what) == nil:
		err = errors.New("no such file or directory: its interpreter or dynamic loader is missing")
		kind = kindNotFound
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, linux.ENOTDIR):
		kind = kindNotFound
	case errors.Is(err, fs.ErrPermission):
		kind = kindPermission
	case errors.Is(err, linux.ENOEXEC):
		err = errors.New("exec format error: not a program for this machine")
		kind = kindInvalid
	case errors.Is(err, linux.ELOOP), errors.Is(err, linux.ENAMETOOLONG), errors.Is(err, linux.E2BIG):
		kind = kindInvalid
	}
	return fail(kind, err, "exec %q", what)
}
