package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// approved says why the file is not wholly signed by the key, if it isn't. It is
// stricter than Verify: whatever is in the file may change what runs, so all of
// it must be covered, by signatures that protect descriptors too.
func (r *report) approved(key *Key, now time.Time) error {
	if err := key.alive(now); err != nil {
		return err
	}
	if r.swapped {
		return errors.New("its overlays may not be in the order in which they were made")
	}
	if len(r.objects) == 0 {
		return ErrUnsigned
	}
	covered, fault := map[uint32]bool{}, ErrUnsigned
	var claimed []string
	for i := range r.seals {
		s := &r.seals[i]
		switch {
		case s.legacy:
			continue
		case s.key == nil:
			claimed = append(claimed, s.claimed)
			continue
		case !s.key.Is(key.ID):
			continue
		case s.err != nil:
			fault = s.fault()
			continue
		}
		if r.anonymous {
			// Every file without a UUID has the same header, so parts that were
			// signed apart may have been put together by anybody.
			clear(covered)
		}
		for _, id := range s.covers {
			covered[id] = true
		}
		missing := slices.IndexFunc(r.objects, func(id uint32) bool { return !covered[id] })
		if missing < 0 {
			return nil
		}
		fault = fmt.Errorf("%w: object %d is not among what %s signed", ErrUnsigned, r.objects[missing], key)
	}
	if errors.Is(fault, ErrUnsigned) && len(covered) == 0 && len(claimed) > 0 {
		return unknownKey(strings.Join(slices.Compact(claimed), ", "))
	}
	return fault
}
