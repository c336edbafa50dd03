package cri

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// ownHandler is a name for the default, unless the configuration says otherwise.
const ownHandler = "siflet"

// handlers are those that pods may name; the empty one is the default.
func (s *Server) handlers() map[string]*runtime.Handler {
	all := map[string]*runtime.Handler{"": nil, ownHandler: nil}
	if s.named != nil {
		maps.Copy(all, s.named())
	}
	return all
}

func (s *Server) checkHandler(field, name string) error {
	all := s.handlers()
	if _, ok := all[name]; ok {
		return nil
	}
	names := slices.Sorted(maps.Keys(all))
	return invalid(field, "unknown handler %q; there is %q", name, names[1:])
}

func (s *Server) handlerFeatures(mapped bool) (list []*criapi.RuntimeHandler) {
	all := s.handlers()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		own := all[name] == nil || all[name].Runtime == ""
		list = append(list, &criapi.RuntimeHandler{
			Name: name, Features: &criapi.RuntimeHandlerFeatures{
				RecursiveReadOnlyMounts: s.node.RecursiveReadOnly, UserNamespaces: mapped && own,
			},
		})
	}
	return list
}

// checkAlone refuses what needs a network of a pod whose handler gives it none.
func checkAlone(handler string, spec *runtime.InstanceSpec) error {
	if !spec.LoopbackOnly {
		return nil
	}
	var field string
	switch {
	case len(spec.Ports) > 0:
		field = "port_mappings"
	case spec.IngressBps > 0:
		field = fmt.Sprintf("annotations[%q]", ingressAnnotation)
	case spec.EgressBps > 0:
		field = fmt.Sprintf("annotations[%q]", egressAnnotation)
	default:
		return nil
	}
	return unsupported(field, "pods of the handler %q have no network but the loopback interface; leave it out or name another handler", handler)
}

// missingRuntimes names the handlers whose containers can't be created.
func (s *Server) missingRuntimes() (errs error) {
	all := s.handlers()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := all[name].Missing(); err != nil {
			errs = errors.Join(errs, fmt.Errorf("handler %q: %w", name, err))
		}
	}
	return errs
}
