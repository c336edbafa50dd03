package unprivileged

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moby/sys/user"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	usual := []user.SubID{{SubID: 300000, Count: 65536}}
	split := []user.SubID{{SubID: 1000, Count: 10}, {SubID: 5000, Count: 65530}}
	for name, c := range map[string]struct {
		self, own uint32
		ranges    []user.SubID
		want      string
	}{
		"root":                   {0, 20001, usual, "0 20001 1, 1 300000 65535"},
		"the caller":             {20001, 20001, usual, "0 320000 1, 1 300000 20000, 20001 20001 1, 20002 320001 45534"},
		"a first user":           {1, 1, usual, "0 300000 1, 1 1 1, 2 300001 65534"},
		"a last user":            {65535, 65535, usual, "0 365534 1, 1 300000 65534, 65535 65535 1"},
		"a high user":            {100000, 100000, usual, "0 365535 1, 1 300000 65535, 100000 100000 1"},
		"a group that is root's": {0, 0, usual, "0 0 1, 1 300000 65535"},
		"root, two ranges":       {0, 12, split, "0 12 1, 1 1000 10, 11 5000 65525"},
		"two ranges":             {12, 12, split, "0 5001 1, 1 1000 10, 11 5000 1, 12 12 1, 13 5002 65523"},
		"two, at the edge":       {10, 10, split, "0 1009 1, 1 1000 9, 10 10 1, 11 5000 65525"},
		"two, a high user":       {70000, 70000, split, "0 70525 1, 1 1000 10, 11 5000 65525, 70000 70000 1"},
		"few":                    {20001, 20001, []user.SubID{{SubID: 300000, Count: 100}}, "0 300099 1, 1 300000 99, 20001 20001 1"},
		"few, root":              {0, 20001, []user.SubID{{SubID: 300000, Count: 100}}, "0 20001 1, 1 300000 100"},
		"one":                    {20001, 20001, []user.SubID{{SubID: 300000, Count: 1}}, "0 300000 1, 20001 20001 1"},
		"very many":              {0, 5, []user.SubID{{SubID: 10, Count: 1<<32 - 11}, {SubID: 6, Count: 1}}, "0 5 1, 1 10 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, m := range spread(c.self, c.own, c.ranges) {
				got = append(got, strings.TrimSpace(fmt.Sprint(m)))
			}
			if got := strings.Join(got, ", "); got != c.want {
				t.Errorf("map %q, want %q", got, c.want)
			}
		})
	}
}
