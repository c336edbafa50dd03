package runtime

import (
	"encoding/json"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/siflet/siflet/runtime/linux"
)

// PodLimits are what the containers of a pod may use together, and what there is
// for the pod beside them.
type PodLimits struct {
	Resources *specs.LinuxResources `json:"resources,omitempty"`
	Overhead  *specs.LinuxResources `json:"overhead,omitempty"`
}

// merge is l with what update sets.
func (l PodLimits) merge(update PodLimits) PodLimits {
	if update.Resources != nil {
		l.Resources = mergeResources(l.Resources, update.Resources)
	}
	if update.Overhead != nil {
		l.Overhead = mergeResources(l.Overhead, update.Overhead)
	}
	return l
}

// sum is the limit of the whole pod. What the containers have no limit for has
// none: an overhead alone limits nothing.
func (l PodLimits) sum() *specs.LinuxResources {
	if l.Resources == nil {
		return nil
	}
	out := mergeResources(nil, l.Resources) // a copy
	if l.Overhead == nil {
		return out
	}
	if m, more := out.Memory, l.Overhead.Memory; m != nil && more != nil {
		raise(m.Limit, more.Limit)
		raise(m.Swap, more.Swap)
	}
	if c, more := out.CPU, l.Overhead.CPU; c != nil && more != nil {
		if c.Shares != nil && more.Shares != nil {
			*c.Shares += *more.Shares
		}
		raise(c.Quota, inPeriod(more, c.Period))
	}
	for _, more := range l.Overhead.HugepageLimits {
		for i := range out.HugepageLimits {
			if out.HugepageLimits[i].Pagesize == more.Pagesize {
				out.HugepageLimits[i].Limit += more.Limit
			}
		}
	}
	return out
}

// raise adds to a limit, if it is one.
func raise(limit, more *int64) {
	if limit != nil && *limit > 0 && more != nil && *more > 0 {
		*limit += *more
	}
}

const defaultPeriod = 100_000 // the kernel's, in microseconds

// inPeriod is a quota as one of another period.
func inPeriod(c *specs.LinuxCPU, period *uint64) *int64 {
	if c.Quota == nil || *c.Quota <= 0 {
		return nil
	}
	own, other := float64(defaultPeriod), float64(defaultPeriod)
	if c.Period != nil {
		own = float64(*c.Period)
	}
	if period != nil {
		other = float64(*period)
	}
	quota := int64(float64(*c.Quota) / own * other)
	return &quota
}

// instanceLimits are those of an instance's own cgroup. Whoever made its parent
// has limited that.
func (e *Engine) instanceLimits(r *instanceRecord) *specs.LinuxResources {
	s := &r.Spec
	if !e.makesParent(r) {
		return s.Resources
	}
	sum := s.PodLimits.sum()
	if sum == nil {
		return s.Resources
	}
	return mergeResources(sum, s.Resources)
}

// makesParent says whether the parent of the instance's cgroup is made by the engine.
func (e *Engine) makesParent(r *instanceRecord) bool {
	s := &r.Spec
	if s.CgroupParent == "" || r.MadeParent != "" {
		return true
	}
	parent, err := e.cfg.Cgroups.Parent(s.CgroupParent)
	own, ownErr := e.cfg.Cgroups.Parent(e.cfg.CgroupParent)
	return err == nil && ownErr == nil && parent == own
}

// place is the cgroup of an instance in parent, or in the engine's own for none.
func (c *Config) place(parent, id string) (string, error) {
	if parent == "" {
		parent = c.CgroupParent
	}
	above, err := c.Cgroups.Parent(parent)
	if err != nil {
		return "", classify(err)
	}
	return filepath.Join(above, c.Cgroups.Name("siflet-"+id)), nil
}

// NodeLimits are what can be limited on this machine, and how.
type NodeLimits struct {
	// Swap and Hugetlb say whether swap and huge pages can be limited.
	Swap, Hugetlb bool
	// Systemd is set if instances are scopes of systemd and parents its slices.
	Systemd bool
	// OOMScoreFloor is the least oom_score_adj that this process may give, if it may
	// not give any.
	OOMScoreFloor *int
}

// Limits are the node's.
func (e *Engine) Limits() NodeLimits {
	groups := e.cfg.Cgroups
	l := NodeLimits{
		Swap: groups.Swap(), Hugetlb: slices.Contains(groups.Controllers(), "hugetlb"), Systemd: groups.Systemd(),
	}
	if own, restricted := linux.OOMScoreFloor(); restricted {
		l.OOMScoreFloor = &own
	}
	return l
}

// mergeResources is old with what new sets: an update leaves alone what it
// does not mention.
func mergeResources(old, update *specs.LinuxResources) *specs.LinuxResources {
	merged := &specs.LinuxResources{}
	var pages []specs.LinuxHugepageLimit
	for _, r := range []*specs.LinuxResources{old, update} {
		if r == nil {
			continue
		}
		// Decoding over a value keeps the fields that the text does not have.
		text, err := json.Marshal(r)
		if err != nil || json.Unmarshal(text, merged) != nil {
			return update
		}
		pages = mergePages(pages, r.HugepageLimits)
	}
	merged.HugepageLimits = pages
	return merged
}

// mergePages keeps the limits of page sizes that the update does not have.
func mergePages(old, update []specs.LinuxHugepageLimit) []specs.LinuxHugepageLimit {
	merged := slices.Clone(old)
	for _, l := range update {
		same := func(o specs.LinuxHugepageLimit) bool { return o.Pagesize == l.Pagesize }
		if i := slices.IndexFunc(merged, same); i >= 0 {
			merged[i] = l
		} else {
			merged = append(merged, l)
		}
	}
	return merged
}
