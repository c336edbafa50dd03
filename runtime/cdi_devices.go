package runtime

import (
	"fmt"
	"os"
	"slices"

	"github.com/siflet/siflet/runtime/cdi"
	"github.com/siflet/siflet/runtime/plan"
)

// namedDevices describes the devices that a container names, as they are now: what
// becomes of the files that tell of them does not change a container that was created.
func namedDevices(dirs, names []string) (*cdi.Edits, error) {
	edits, err := cdi.Find(dirs, names)
	if err != nil {
		return nil, as(ErrInvalid, err)
	}
	if edits == nil {
		return nil, nil //nolint:nilnil // no devices, no edits
	}
	for _, m := range edits.Mounts {
		bind := m.Type == "" || m.Type == "none" || m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		if _, err := os.Stat(m.HostPath); bind && err != nil {
			return nil, as(ErrInvalid, fmt.Errorf("devices %v: mount %s: source: %w", names, m.ContainerPath, err))
		}
	}
	return edits, nil
}

// withDevices is a container with what its devices mean for each of its processes.
func withDevices(spec ContainerSpec, edits *cdi.Edits) ContainerSpec {
	if edits == nil {
		return spec
	}
	spec.Env = plan.JoinEnv(spec.Env, edits.Env)
	groups := slices.Clone(spec.Security.User.Groups)
	for _, id := range edits.AdditionalGIDs {
		if id != 0 && !slices.Contains(groups, id) {
			groups = append(groups, id)
		}
	}
	spec.Security.User.Groups = groups
	return spec
}
