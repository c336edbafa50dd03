package launch

import (
	"errors"
	"fmt"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

// mapping is a user namespace made for the ids of mounts.
type mapping struct {
	maps linux.UserMaps
	ns   linux.FD
}

// mapLayer gives the files of an image's layer the ids that they have in the
// container's user namespace.
func (s *stage) mapLayer(mount int, fs string) error {
	if s.user <= 0 {
		return nil
	}
	return cannotMap(linux.MapIDs(mount, s.user, false), fs)
}

// mapBind maps the ids of a bind mount as it asks for.
func (s *stage) mapBind(m *program.Mount, tree int) error {
	if m.UIDMap == "" {
		return nil
	}
	maps := linux.UserMaps{UID: m.UIDMap, GID: m.GIDMap}
	if s.mapping.maps != maps {
		ns, err := linux.NewUserNamespace(maps, 0)
		if err != nil {
			return err
		}
		s.mapping = mapping{maps, ns}
	}
	if err := cannotMap(linux.MapIDs(tree, s.mapping.ns, m.Recursive), "the file system of "+m.Source+", or one below it,"); err != nil {
		return fail(kindInvalid, err, "mount %s", m.Target)
	}
	return nil
}

func cannotMap(err error, what string) error {
	if errors.Is(err, linux.EINVAL) {
		return fmt.Errorf("%s takes no idmapped mounts in this kernel: %w", what, err)
	}
	return err
}
