package runtime

import (
	"encoding/json"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mergeResources is old with what new sets: an update leaves alone what it
// does not mention.
func mergeResources(old, update *specs.LinuxResources) *specs.LinuxResources {
	merged := &specs.LinuxResources{}
	for _, r := range []*specs.LinuxResources{old, update} {
		if r == nil {
			continue
		}
		// Decoding over a value keeps the fields that the text does not have.
		text, err := json.Marshal(r)
		if err != nil || json.Unmarshal(text, merged) != nil {
			return update
		}
	}
	return merged
}
