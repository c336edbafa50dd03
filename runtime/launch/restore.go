package launch

import (
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// firstStdio is where criu finds the descriptors that the process will have as
// its first.
const firstStdio = 20

const maxMounts = 4 << 20 // bytes of a mount table

// restore becomes criu, which makes the container's process in the root that is
// ready now, with the mounts that are there. Without a checkpoint it does nothing.
func (s *stage) restore() error {
	r := s.p.Restore
	if r == nil {
		return nil
	}
	if err := s.sealRoot(); err != nil {
		return err
	}
	root, err := linux.PathOf(s.root)
	if err != nil {
		return err
	}
	table, err := linux.Slurp("/proc/self/mountinfo", maxMounts)
	if err != nil {
		return err
	}
	args := []string{
		"criu", "restore", "--images-dir", r.Images, "--work-dir", r.Work, "--log-file", "restore.log", "-v2", "--root", root,
		"--manage-cgroups=ignore", "--restore-detached", "--restore-sibling", "--pidfile", r.Work + "/pid",
	}
	if label := s.p.Process.SELinux; label != "" {
		// A criu that was built without SELinux would leave the process its own label; it
		// refuses to be told of one.
		args = append(args, "--lsm-profile", "selinux:"+label)
	}
	for _, m := range externals(string(table), root) {
		args = append(args, "--external", "mnt["+m+"]:"+root+m)
	}
	if err := linux.CloseOnExecFrom(statusFD); err != nil {
		return err
	}
	for fd, was := range r.Stdio {
		if fd > 2 || !strings.HasPrefix(was, "pipe:") {
			continue
		}
		if err := linux.MoveTo(fd, firstStdio+fd); err != nil {
			return err
		}
		args = append(args, "--inherit-fd", "fd["+strconv.Itoa(firstStdio+fd)+"]:"+was)
	}
	if err := linux.Fchdir(s.root); err != nil {
		return err
	}
	image, err := linux.NewImage(r.Criu, -1, args, []string{"PATH=" + defaultPath})
	if err != nil {
		return fail(kindInvalid, err, "exec %q", r.Criu)
	}
	return execFailure(r.Criu, image.Exec())
}

// externals are the places of the mounts below root, as seen from there, that a
// checkpoint does not hold: all but those of proc, which criu makes.
func externals(mountinfo, root string) []string {
	var out []string
	for _, m := range linux.Mounts(mountinfo) {
		if at, below := strings.CutPrefix(m.At, root); below && strings.HasPrefix(at, "/") && m.FS != "proc" {
			out = append(out, at)
		}
	}
	return out
}
