package cri

import (
	"fmt"
	"slices"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime/cdi"
)

// namedDevices are those that a container names: in the field, then in annotations,
// where old device plugins put them. Each comes once.
func namedDevices(c *criapi.ContainerConfig) ([]string, error) {
	var names []string
	for i, d := range c.GetCDIDevices() {
		if !cdi.IsName(d.GetName()) {
			return nil, invalid(fmt.Sprintf("CDI_devices[%d].name", i), "%q is not a device's name; want vendor/class=name", d.GetName())
		}
		names = append(names, d.GetName())
	}
	annotated, err := cdi.FromAnnotations(c.GetAnnotations())
	if err != nil {
		return nil, invalid("annotations", "%v", err)
	}
	var out []string
	for _, name := range slices.Concat(names, annotated) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
