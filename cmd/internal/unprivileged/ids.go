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

	"github.com/siflet/siflet/runtime/linux"
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

// spread maps own to self, which is 0 or own itself, and the other ids to those of ranges: 1
// to the first of them, and so on, whatever self is, so that files belong to the same ids for
// both. Where 0 is not self it has what own would have.
func spread(self, own uint32, ranges []user.SubID) []program.IDMap {
	maps := []program.IDMap{{Container: self, Host: own, Length: 1}}
	total := uint32(0)
	for _, r := range ranges {
		total += min(uint32(r.Count), maxID+1-total) //nolint:gosec // checked in subIDs
	}
	last := min(total, maxID) // that has one
	if self != 0 {
		zero := self
		if self > last {
			zero, last = total, min(last, total-1)
		}
		maps = append(maps, program.IDMap{Container: 0, Host: nth(zero, ranges), Length: 1})
	}
	next := uint32(1)
	for _, r := range ranges {
		host, left := uint32(r.SubID), uint32(r.Count) //nolint:gosec // checked in subIDs
		for left > 0 && next <= last {
			some := min(left, last+1-next)
			switch {
			case next < self:
				some = min(some, self-next)
			case next == self:
				next, host, left = next+1, host+1, left-1
				continue
			}
			maps = append(maps, program.IDMap{Container: next, Host: host, Length: some})
			next, host, left = next+some, host+some, left-some
		}
	}
	slices.SortFunc(maps, func(a, b program.IDMap) int { return cmp.Compare(a.Container, b.Container) })
	return maps
}

// nth is an id of ranges, counted from 1.
func nth(n uint32, ranges []user.SubID) uint32 {
	for _, r := range ranges {
		host, count := uint32(r.SubID), uint32(r.Count) //nolint:gosec // checked in subIDs
		if n <= count {
			return host + n - 1
		}
		n -= count
	}
	return 0
}

// mapper maps ids with newuidmap(1) and newgidmap(1), to which that is permitted.
type mapper struct {
	newuidmap, newgidmap string
	uids, gids           []program.IDMap
}

func (m *mapper) mapIDs(ctx context.Context, proc string) error {
	pid := filepath.Base(proc)
	// Both at a time: they are programs to be started.
	other := make(chan error, 1)
	go func() { other <- runMapper(ctx, m.newgidmap, pid, m.gids) }()
	err := runMapper(ctx, m.newuidmap, pid, m.uids)
	return errors.Join(err, <-other)
}

// runMapper runs one in a session of its own: signals of the terminal are for its caller, who
// ends ctx.
func runMapper(ctx context.Context, path, pid string, maps []program.IDMap) error {
	args := []string{pid}
	for _, m := range maps {
		args = append(args, strings.Fields(m.String())...)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // see ranges
	cmd.SysProcAttr, cmd.WaitDelay = linux.OwnSession(), time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("map ids: %s: %w: %s", filepath.Base(path), err, bytes.TrimSpace(out))
	}
	return nil
}
