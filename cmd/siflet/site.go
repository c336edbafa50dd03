package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cmd/internal/accounts"
	"github.com/siflet/siflet/cmd/internal/site"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/linux"
)

// settleSite lets the machine's configuration decide what flags left open, and refuses
// what it does not allow.
func (o *actionOptions) settleSite(cmd *cobra.Command) error {
	var err error
	if o.site, err = site.Read(site.Path); err != nil {
		return err
	}
	c := &o.site
	for _, m := range []struct {
		name string
		made bool
	}{
		{"proc", c.MountProc}, {"sys", c.MountSys}, {"devpts", c.MountDevpts}, {"home", c.MountHome}, {"tmp", c.MountTmp}, {"dev", c.MountDev != "no"},
	} {
		if !m.made {
			o.noMount = append(o.noMount, m.name)
		}
	}
	given := func(name string) bool {
		flag := cmd.Flags().Lookup(name)
		return flag != nil && flag.Changed && flag.Value.String() != "false"
	}
	o.nv = o.nv || c.AlwaysUseNV && !given("no-nv")
	o.rocm = o.rocm || c.AlwaysUseROCm && !given("no-rocm")
	if o.containAll || o.compat { // which mean more than a PID namespace
		o.pid, o.ipc = o.pid && c.AllowPIDNs, o.ipc && c.AllowIPCNs
	}
	if err := o.allowFlags(); err != nil {
		return err
	}
	return o.allowNet()
}

// allowFlags refuses flags that nobody may use.
func (o *actionOptions) allowFlags() error {
	c := &o.site
	for _, r := range []struct {
		key, flag string
		refused   bool
	}{
		{"allow user ns", "running images without root", !c.AllowUserNs && !linux.IsRoot()},
		{"allow pid ns", "--pid", !c.AllowPIDNs && o.pid},
		{"allow ipc ns", "--ipc", !c.AllowIPCNs && o.ipc},
		{"allow uts ns", "--uts", !c.AllowUTSNs && o.uts},
		{"enable overlay", "--overlay", !c.EnableOverlay && len(o.overlays) > 0},
		{"enable overlay", "--writable-tmpfs", !c.EnableOverlay && o.writableTmpfs},
		{"user bind control", "--bind", !c.UserBindControl && len(o.binds) > 0},
		{"user bind control", "--mount", !c.UserBindControl && len(o.mounts) > 0},
		{"user bind control", "--home", !c.UserBindControl && o.home != ""},
		{"user bind control", "--workdir", !c.UserBindControl && o.workdir != ""},
		{"user bind control", "--cdi-dirs", !c.UserBindControl && len(o.cdiDirs) > 0}, // whose files bring mounts
	} {
		if r.refused {
			return fmt.Errorf("%s: %w (%s = no)", r.flag, errSite, r.key)
		}
	}
	return nil
}

var errSite = errors.New("the administrator of this machine does not allow that: " + site.Path)

// allowNet refuses networks to those who may have none.
func (o *actionOptions) allowNet() error {
	c := &o.site
	if !o.net || o.network == "none" || linux.IsRoot() {
		return nil
	}
	if len(c.AllowNetNetworks) > 0 && !slices.Contains(c.AllowNetNetworks, o.network) {
		return fmt.Errorf("--network %s: %w (allow net networks)", o.network, errSite)
	}
	if len(c.AllowNetUsers) == 0 && len(c.AllowNetGroups) == 0 {
		return nil
	}
	groups, err := os.Getgroups()
	if err != nil {
		return fmt.Errorf("find the caller's groups: %w", err)
	}
	for _, id := range append(groups, os.Getegid()) {
		if amongIDs(c.AllowNetGroups, strconv.Itoa(id), accounts.GroupName) {
			return nil
		}
	}
	if amongIDs(c.AllowNetUsers, strconv.Itoa(os.Geteuid()), userName) {
		return nil
	}
	return fmt.Errorf("--net: %w (allow net users, allow net groups)", errSite)
}

// allowImage refuses images that users may not run.
func (o *actionOptions) allowImage(img *image.Image) error {
	c := &o.site
	kind, allowed := "sif", c.AllowContainerSIF
	switch {
	case img.IsSandbox():
		kind, allowed = "dir", c.AllowContainerDir
	case slices.ContainsFunc(img.Extents, func(e image.Extent) bool { return e.FS == "ext3" }) && !c.AllowContainerExtfs:
		kind, allowed = "extfs", false
	}
	if !allowed {
		return fmt.Errorf("image %s: %w (allow container %s = no)", imageName(*img), errSite, kind)
	}
	if linux.IsRoot() || len(c.LimitContainerOwners)+len(c.LimitContainerGroups)+len(c.LimitContainerPaths) == 0 {
		return nil
	}
	files := []string{img.Path}
	if img.Path == "" {
		files = nil
		for _, e := range img.Extents {
			files = append(files, e.Path)
		}
	}
	for _, file := range files {
		if err := o.allowFile(file); err != nil {
			return fmt.Errorf("image %s: %w", imageName(*img), err)
		}
	}
	return nil
}

func (o *actionOptions) allowFile(path string) error {
	c := &o.site
	fd, err := linux.Open(path, linux.OPath)
	if err != nil {
		return err
	}
	defer linux.Close(fd)
	st, err := linux.Fstat(fd)
	if err != nil {
		return err
	}
	// Where it is, whatever links lead there.
	place, err := os.Readlink(linux.DescriptorOf(fd))
	if err != nil {
		return err
	}
	number := func(id uint32) string { return strconv.FormatUint(uint64(id), 10) }
	inside := func(dir string) bool {
		resolved, err := filepath.EvalSymlinks(dir)
		return err == nil && within(place, resolved)
	}
	switch {
	case len(c.LimitContainerOwners) > 0 && !amongIDs(c.LimitContainerOwners, number(st.UID), userName):
		return fmt.Errorf("%w (limit container owners)", errSite)
	case len(c.LimitContainerGroups) > 0 && !amongIDs(c.LimitContainerGroups, number(st.GID), accounts.GroupName):
		return fmt.Errorf("%w (limit container groups)", errSite)
	case len(c.LimitContainerPaths) > 0 && !slices.ContainsFunc(c.LimitContainerPaths, inside):
		return fmt.Errorf("%w (limit container paths)", errSite)
	}
	return nil
}

// amongIDs says that an id, or its name, is in a list.
func amongIDs(list []string, id string, name func(string) string) bool {
	return slices.Contains(list, id) || slices.Contains(list, name(id))
}

func userName(id string) string {
	who, err := accounts.ByID(id)
	if err != nil {
		return ""
	}
	return who.Username
}

// room is how large file systems in memory are.
func (o *actionOptions) room() string {
	return "size=" + strconv.FormatInt(o.site.SessiondirMaxSize, 10) + "m"
}
