package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/siflet/siflet/runtime/action"
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
	spec.Action = actionWith(spec.Action, edits)
	groups := slices.Clone(spec.Security.User.Groups)
	for _, id := range edits.AdditionalGIDs {
		if id != 0 && !slices.Contains(groups, id) {
			groups = append(groups, id)
		}
	}
	spec.Security.User.Groups = groups
	return spec
}

// actionWith is a request to siflet-action that sets the devices' variables too.
func actionWith(request []byte, edits *cdi.Edits) []byte {
	if len(request) == 0 || edits == nil || len(edits.Env) == 0 {
		return request
	}
	var r action.Request
	if err := json.Unmarshal(request, &r); err != nil {
		return request // siflet-action says what is wrong with it
	}
	for _, entry := range edits.Env {
		if name, value, ok := cut(entry); ok {
			r.Set = append(r.Set, action.Var{Name: name, Value: value, NoEval: true})
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return request
	}
	return text
}
