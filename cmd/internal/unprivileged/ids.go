package unprivileged

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/user"

	"github.com/siflet/siflet/runtime/program"
)

// maxID is the highest id that is mapped: what fits the 16 bits that images use.
const maxID = 1<<16 - 1

// subIDs are the ids that a file such as /etc/subuid gives somebody, by name or number.
func subIDs(path, name string, id int) ([]user.SubID, error) {
	number := strconv.Itoa(id)
	ids, err := user.ParseSubIDFileFilter(path, func(s user.SubID) bool {
		return (s.Name == name || s.Name == number) && s.Count > 0 && s.SubID > 0 && s.SubID+s.Count <= 1<<32-1
	})
	slices.SortFunc(ids, func(a, b user.SubID) int { return cmp.Compare(a.SubID, b.SubID) })
	return ids, err
}

// spread maps own to itself, or to self if that is another number, and the other ids from 0
// on to those of ranges, in their order.
func spread(self, own uint32, ranges []user.SubID) []program.IDMap {
	maps := []program.IDMap{{Container: self, Host: own, Length: 1}}
	next := uint32(0)
	for _, r := range ranges {
		host, left := uint32(r.SubID), uint32(r.Count) //nolint:gosec // checked in subIDs
		for left > 0 && next <= maxID {
			if next == self {
				next++
				continue
			}
			some := min(left, maxID+1-next)
			if next < self {
				some = min(some, self-next)
			}
			maps = append(maps, program.IDMap{Container: next, Host: host, Length: some})
			next, host, left = next+some, host+some, left-some
		}
	}
	slices.SortFunc(maps, func(a, b program.IDMap) int { return cmp.Compare(a.Container, b.Container) })
	return maps
}

// mapper maps ids with newuidmap(1) and newgidmap(1), to which that is permitted.
type mapper struct {
	newuidmap, newgidmap string
	uids, gids           []program.IDMap
}

func (m *mapper) mapIDs(proc string) error {
	pid := filepath.Base(proc)
	// Both at a time: they are programs to be started.
	other := make(chan error, 1)
	go func() { other <- runMapper(m.newgidmap, pid, m.gids) }()
	err := runMapper(m.newuidmap, pid, m.uids)
	return errors.Join(err, <-other)
}

func runMapper(path, pid string, maps []program.IDMap) error {
	args := []string{pid}
	for _, m := range maps {
		args = append(args, strings.Fields(m.String())...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // see ranges
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("map ids: %s: %w: %s", filepath.Base(path), err, bytes.TrimSpace(out))
	}
	return nil
}
