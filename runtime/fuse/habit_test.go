package fuse

import "testing"

func TestHabit(t *testing.T) {
	var h habit
	node := uint64(rootNode)
	// list lists another directory and says whether all was told; asked entries are looked up.
	list := func(entries, asked int64) bool {
		node++
		all := h.tellsAll(node)
		h.listed(node, entries)
		h.listed(node+1000, 5) // others list too
		for range asked {
			h.lookedUp(node)
		}
		return all
	}
	for what, c := range map[string]struct {
		entries, asked int64
		want           bool
	}{
		"all are asked for": {10, 10, true}, "half of them": {10, 5, true}, "few of them": {10, 4, false}, "none": {10, 0, false},
		"more than there are": {10, 30, true}, "one of one": {1, 1, false},
	} {
		h = habit{}
		if list(c.entries, c.asked) {
			t.Errorf("%s: all is told before anybody asked", what)
		}
		if got := list(10, 0); got != c.want {
			t.Errorf("%s: all is told next = %v, want %v", what, got, c.want)
		}
	}
	h = habit{}
	list(10, 10)
	samples := 0
	for range 4 * sampleEvery {
		if !list(10, 0) {
			samples++
			for range 9 {
				h.lookedUp(node)
			}
		}
	}
	if samples != 4 {
		t.Errorf("%d of %d listings are samples while all is asked for, want 4", samples, 4*sampleEvery)
	}
	for told := 0; list(10, 0); told++ {
		if told > sampleEvery {
			t.Fatal("no sample comes")
		}
	}
	if list(10, 0) {
		t.Error("all is told still after a sample of which nothing was asked for")
	}
}
