package launch

import (
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

func (s *stage) setSysctls() error {
	keys := make([]string, 0, len(s.p.Sysctls))
	for key := range s.p.Sysctls {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	// Through the host's /proc/sys: it shows the namespaces of who looks, and
	// no image has a say in what it is.
	for _, key := range keys {
		if err := linux.SetSysctl(key, s.p.Sysctls[key]); err != nil {
			return fail(kindInvalid, err, "set sysctl %s", key)
		}
	}
	return nil
}

func (s *stage) placeFiles() error {
	for i := range s.p.Files {
		f := &s.p.Files[i]
		if err := s.placeFile(f.Target, []byte(f.Data), f.Mode); err != nil {
			return inStep("place "+f.Target, err)
		}
	}
	return nil
}

// placeFile mounts a new file over target.
func (s *stage) placeFile(target string, data []byte, mode uint32) error {
	name := strconv.Itoa(s.names)
	s.names++
	if err := linux.Create(s.scratch, name, data, mode); err != nil {
		return err
	}
	tree, err := linux.OpenTree(s.scratch, name, false)
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	return s.bindOver(tree, target)
}

// accountsLimit bounds the size of account files: some sites export tens of
// thousands of users.
const accountsLimit = 16 << 20

func (s *stage) placeAccounts() error {
	a := s.p.Accounts
	if a == nil {
		return nil
	}
	if a.Passwd != "" {
		if err := s.placeMerged("/etc/passwd", func(text string) string { return mergePasswd(text, a.Passwd) }); err != nil {
			return err
		}
	}
	if len(a.Groups) > 0 {
		return s.placeMerged("/etc/group", func(text string) string { return mergeGroups(text, a.Groups) })
	}
	return nil
}

func (s *stage) placeMerged(target string, merge func(string) string) error {
	data, err := linux.ReadIn(s.root, target, accountsLimit)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return inStep("place "+target, err)
	}
	const mode = 0o644
	return inStepIf("place "+target, s.placeFile(target, []byte(merge(string(data))), mode))
}

func inStepIf(step string, err error) error {
	if err == nil {
		return nil
	}
	return inStep(step, err)
}

// protect hides and write-protects what the program says. What is not there
// needs no protection.
func (s *stage) protect() error {
	if len(s.p.MaskedPaths) == 0 && len(s.p.ReadonlyPaths) == 0 {
		return nil
	}
	null, err := linux.Open("/dev/null", linux.OPath)
	if err != nil {
		return err
	}
	defer linux.Close(null)
	if !isNull(null) {
		return errors.New("the host's /dev/null is something else")
	}
	empty := ""
	for _, name := range s.p.MaskedPaths {
		if err := s.mask(name, null, &empty); err != nil {
			return inStep("mask "+name, err)
		}
	}
	for _, name := range s.p.ReadonlyPaths {
		if err := s.writeProtect(name); err != nil {
			return inStep("make read-only "+name, err)
		}
	}
	return nil
}

// mask mounts the host's /dev/null over a file and an empty directory over a
// directory, read-only, so that nobody changes the mode of the host's. empty
// names the directory in the scratch space, once it is made.
func (s *stage) mask(name string, null int, empty *string) error {
	target, st, err := s.existing(name)
	if err != nil || target < 0 {
		return err
	}
	defer linux.Close(target)
	var tree int
	a := linux.Attr{Readonly: true, NoSuid: true, NoExec: true, NoDev: st.IsDir()}
	if st.IsDir() {
		if *empty == "" {
			dir, fd, err := s.scratchDir()
			if err != nil {
				return err
			}
			linux.Close(fd)
			*empty = dir
		}
		tree, err = linux.OpenTree(s.scratch, *empty, false)
	} else {
		tree, err = linux.OpenTree(null, "", false)
	}
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	if err := linux.MountSetattr(tree, a, false); err != nil {
		return err
	}
	return linux.MoveMount(tree, target)
}

func (s *stage) writeProtect(name string) error {
	target, _, err := s.existing(name)
	if err != nil || target < 0 {
		return err
	}
	defer linux.Close(target)
	tree, err := linux.OpenTree(target, "", true)
	if err != nil {
		return err
	}
	defer linux.Close(tree)
	if err := linux.MountSetattr(tree, linux.Attr{Readonly: true}, true); err != nil {
		return err
	}
	return linux.MoveMount(tree, target)
}

// existing opens a path of the container; -1 if there is none.
func (s *stage) existing(name string) (int, linux.Stat, error) {
	fd, err := linux.OpenIn(s.root, name, linux.OPath, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, linux.ENOTDIR) {
		return -1, linux.Stat{}, nil
	}
	if err != nil {
		return -1, linux.Stat{}, err
	}
	st, err := linux.Fstat(fd)
	return fd, st, err
}

// mergePasswd adds a passwd(5) line to text, or replaces the line of the same
// user, whose shell stays: the image knows which shells it has.
func mergePasswd(text, line string) string {
	const fields, shell = 7, 6
	want := strings.SplitN(line, ":", fields)
	return mergeLine(text, line, func(old string) string {
		have := strings.SplitN(old, ":", fields)
		if len(have) == fields && len(want) == fields && have[shell] != "" {
			want[shell] = have[shell]
			return strings.Join(want, ":")
		}
		return line
	})
}

// mergeGroups adds group(5) lines, or replaces those of the same name.
func mergeGroups(text string, lines []string) string {
	for _, line := range lines {
		text = mergeLine(text, line, func(string) string { return line })
	}
	return text
}

// mergeLine replaces the first line of text that has line's first field by
// what replace makes of it, or adds line at the end.
func mergeLine(text, line string, replace func(old string) string) string {
	name, _, _ := strings.Cut(line, ":")
	var b strings.Builder
	found := false
	for old := range strings.Lines(text) {
		old = strings.TrimSuffix(old, "\n")
		if first, _, ok := strings.Cut(old, ":"); ok && first == name && !found {
			found = true
			old = replace(old)
		}
		b.WriteString(old)
		b.WriteByte('\n')
	}
	if !found {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}
