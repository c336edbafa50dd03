package runtime

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
	"github.com/siflet/siflet/runtime/supervisor"
)

const procsFile, tasksFile = "/cgroup.procs", "/tasks"

// programCgroup says how a launch stage enters a group. On v1 it goes by the
// tasks files, which move one thread, and is born in what there is of v2: moving
// a process makes the kernel wait for all processors, more than 10 ms.
func programCgroup(h cgroups.Handle) program.Cgroup {
	out := program.Cgroup{Join: h.Join, Dir: h.Dir, Procs: h.Procs, Kill: h.Kill, OOM: h.OOM}
	unified := path.Dir(h.Kill)
	if h.Dir != "" || h.Kill == "" || !slices.Contains(h.Join, unified+procsFile) {
		return out
	}
	out.Dir, out.Join = unified, nil
	for _, file := range h.Join {
		if file != unified+procsFile {
			out.Join = append(out.Join, strings.TrimSuffix(file, procsFile)+tasksFile)
		}
	}
	return out
}

// isUnified says that all controllers are v2's.
func isUnified(c program.Cgroup) bool { return slices.Contains(c.Join, c.Dir+procsFile) }

// bornIn arranges for a supervisor to be born in its cgroup, at path, instead
// of joining it: it has several threads. Where that can't be arranged it joins.
func bornIn(group *program.Cgroup, attr *supervisor.SpawnAttr, path string) (leave func(), err error) {
	leave = func() {}
	if group.Dir == "" {
		return leave, nil
	}
	if !isUnified(*group) { // v2 beside v1
		tasks := group.Join
		if _, ok := homes(tasks, path); !ok {
			for n, file := range group.Join {
				group.Join[n] = strings.TrimSuffix(file, tasksFile) + procsFile
			}
			group.Join = append(group.Join, group.Dir+procsFile)
			return leave, nil
		}
		attr.Tasks = tasks
		attr.Home = func() ([]string, error) {
			home, ok := homes(tasks, path)
			if !ok {
				return nil, errors.New("the calling thread's cgroups can't be told")
			}
			return home, nil
		}
	}
	fd, err := linux.Open(group.Dir, linux.OPath|linux.ODirectory)
	if err != nil {
		return leave, err
	}
	attr.CgroupFD = fd
	group.Join = nil
	return func() { linux.Close(fd) }, nil
}

// homes are the tasks files of the calling thread's cgroups in the hierarchies
// that tasks are of; ok is false when one can't be told. It is the thread's that
// count: any other may be away in a group of its own making.
func homes(tasks []string, group string) (home []string, ok bool) {
	const longest = 64 << 10
	text, err := linux.Slurp("/proc/thread-self/cgroup", longest)
	if err != nil {
		return nil, false
	}
	own := map[string]string{} // by controller
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) //nolint:mnd // id:controllers:path
		if len(fields) != 3 {                                            //nolint:mnd // likewise
			return nil, false
		}
		own[fields[1]] = fields[2]
		for c := range strings.SplitSeq(fields[1], ",") {
			own[strings.TrimPrefix(c, "name=")] = fields[2]
		}
	}
	for _, file := range tasks {
		mount, found := strings.CutSuffix(strings.TrimSuffix(file, tasksFile), group)
		place, known := own[path.Base(mount)]
		if !found || !known || strings.HasPrefix(place, "/..") {
			return nil, false
		}
		home = append(home, path.Join(mount, place)+tasksFile)
	}
	return home, true
}
