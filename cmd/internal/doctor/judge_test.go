package doctor

import (
	"errors"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

func TestTheClockIsJudged(t *testing.T) {
	day := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	kept, left := func() error { return nil }, func() error { return errors.New("nobody keeps it right") }
	for name, c := range map[string]struct {
		now  time.Time
		kept func() error
		want Level
	}{
		"kept":                    {day, kept, OK},
		"nobody keeps it":         {day, left, Warning},
		"before siflet was there": {day.AddDate(-2, 0, 0), kept, Problem},
		"without a battery":       {time.Unix(0, 0), left, Problem},
		"far from now":            {day.AddDate(100, 0, 0), kept, Problem},
	} {
		t.Run(name, func(t *testing.T) {
			f := judgeClock(c.now, c.kept)
			if f.Level != c.want || (f.Next == "") != (c.want == OK) {
				t.Errorf("judgeClock() = %+v, want %s", f, c.want)
			}
		})
	}
}

func TestRoomIsJudged(t *testing.T) {
	const giga = 1 << 30
	p := place{"state directory", "/var/lib/siflet", 256 * mebi}
	for name, c := range map[string]struct {
		room linux.Room
		want Level
	}{
		"much":                              {linux.Room{Bytes: 100 * giga, FreeBytes: 50 * giga, Inodes: 1e6, FreeInodes: 1e5}, OK},
		"a file system that counts no file": {linux.Room{Bytes: 100 * giga, FreeBytes: 50 * giga}, OK},
		"little of much":                    {linux.Room{Bytes: 100 * giga, FreeBytes: 1 * giga}, Warning},
		"a tenth is enough if it is large":  {linux.Room{Bytes: 10000 * giga, FreeBytes: 50 * giga}, OK},
		"next to nothing":                   {linux.Room{Bytes: 100 * giga, FreeBytes: 100 * mebi}, Problem},
		"no more files":                     {linux.Room{Bytes: 100 * giga, FreeBytes: 50 * giga, Inodes: 1e6, FreeInodes: 10}, Problem},
	} {
		t.Run(name, func(t *testing.T) {
			f := p.judge(c.room)
			if f.Level != c.want || (f.Next == "") != (c.want == OK) {
				t.Errorf("judge() = %+v, want %s", f, c.want)
			}
		})
	}
}

func TestProgramsOfOneSourceAreAlike(t *testing.T) {
	build := func(revision, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}}
	}
	if a, b := build("a", "false"), build("a", "false"); source(a) != source(b) {
		t.Error("two of one revision differ")
	}
	for name, other := range map[string]*debug.BuildInfo{
		"another revision": build("b", "false"), "with changes": build("a", "true"), "of a module": {Main: debug.Module{Version: "v1.2.3"}},
	} {
		if source(build("a", "false")) == source(other) {
			t.Errorf("%s: the same as revision a", name)
		}
	}
}

func TestScratchIsWhereTheDirectoryWillBe(t *testing.T) {
	top := t.TempDir()
	dir, err := scratch(filepath.Join(top, "not", "yet"))
	if err != nil || filepath.Dir(dir) != top {
		t.Errorf("scratch() = %s, %v, want it in %s", dir, err, top)
	}
}
