package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/program"
)

// FeignedIDs is a seccomp profile beside those of Security.Seccomp, for a root whose user
// namespace has no other ids: see plan.FeignedProfile.
const FeignedIDs = "siflet/feigned-ids"

// NewFeigning is for a root whose user namespace has no other ids: as FeignedIDs, but that
// it is noted to whom files are given.
func NewFeigning() (*linux.Feigning, error) {
	code, err := plan.FeignedFilter(goruntime.GOARCH)
	return &linux.Feigning{Filter: code}, err
}

// filter is a seccomp profile and what it compiles to; both nil for none.
type filter struct {
	profile *specs.LinuxSeccomp
	code    []byte
}

// filterCache compiles the default profile once for each set of capabilities.
// A profile of the node's is read each time: an administrator may have changed it.
type filterCache struct {
	mu       sync.Mutex
	defaults map[string]filter
}

// blameFilter names the profile whose filter killed a process on its way to the program.
// The container's own privileges count, unless there are others.
func (c *container) blameFilter(err error, others *Security) error {
	var failure *program.Failure
	if !errors.As(err, &failure) || failure.Kind != program.FailedFilter {
		return err
	}
	c.inst.mu.Lock()
	security, adjust := c.rec.Spec.Security, c.rec.Adjust
	c.inst.mu.Unlock()
	if others != nil {
		security = *others
	}
	profile := cmp.Or(security.Seccomp, "runtime/default")
	if adjust != nil && adjust.Seccomp != nil {
		profile = "of an NRI plugin"
	}
	return errorf(ErrInvalid, "the seccomp profile %s killed the process before it became the program: "+
		"it has to allow execve, and what the runtime calls before", profile)
}

// maxProfile bounds a profile's file.
const maxProfile = 1 << 20

func (f *filterCache) filter(s plan.Security) (filter, error) {
	if s.Privileged || s.Seccomp == "unconfined" {
		return filter{}, nil
	}
	caps, err := plan.Capabilities(s)
	if err != nil {
		return filter{}, err
	}
	major, minor, err := linux.KernelVersion()
	if err != nil {
		return filter{}, err
	}
	kernel := plan.Kernel{Arch: goruntime.GOARCH, Major: major, Minor: minor}
	if s.Seccomp == FeignedIDs {
		return compiled(plan.FeignedProfile(goruntime.GOARCH))
	}
	if path, ok := strings.CutPrefix(s.Seccomp, "localhost/"); ok {
		return fromFile(path, kernel, caps.Bounding)
	}
	if s.Seccomp != "" && s.Seccomp != "runtime/default" {
		return filter{}, errorf(ErrInvalid, "seccomp profile %q: want runtime/default, unconfined or localhost/PATH", s.Seccomp)
	}
	key := strings.Join(caps.Bounding, " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	if have, ok := f.defaults[key]; ok {
		return have, nil
	}
	made, err := compiled(plan.DefaultProfile(kernel, caps.Bounding))
	if err != nil {
		return filter{}, err
	}
	const most = 256 // sets of capabilities are few, unless somebody plays
	if f.defaults == nil || len(f.defaults) >= most {
		f.defaults = map[string]filter{}
	}
	f.defaults[key] = made
	return made, nil
}

func fromFile(path string, kernel plan.Kernel, caps []string) (filter, error) {
	fd, err := linux.Open(path, os.O_RDONLY)
	if err != nil {
		return filter{}, as(ErrInvalid, fmt.Errorf("seccomp profile: %w", err))
	}
	defer linux.Close(fd)
	text, err := linux.ReadAll(fd, maxProfile)
	if err != nil {
		return filter{}, as(ErrInvalid, fmt.Errorf("seccomp profile %s: %w", path, err))
	}
	profile, err := plan.ParseProfile(text, kernel, caps)
	if err != nil {
		return filter{}, fmt.Errorf("seccomp profile %s: %w", path, err)
	}
	made, err := compiled(profile)
	if err != nil {
		return filter{}, fmt.Errorf("seccomp profile %s: %w", path, err)
	}
	return made, nil
}

func compiled(profile *specs.LinuxSeccomp) (filter, error) {
	code, err := plan.Compile(profile)
	if err != nil {
		return filter{}, err
	}
	return filter{profile: profile, code: code}, nil
}
