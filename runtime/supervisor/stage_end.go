package supervisor

import (
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

const (
	stageKilled = "the stage was killed"
	// lookInterval is far longer than a stage takes, as a rule.
	lookInterval = 50 * time.Millisecond
)

// told settles a stage that has said what failed.
func (st *stage) told() bool {
	if len(st.report) == 0 {
		return false
	}
	f, err := program.DecodeFailure(st.report)
	if err != nil {
		f = &program.Failure{Step: "read the stage's report", Reason: err.Error()}
	}
	st.conclude(f)
	return true
}

// lookLater makes sure that a stage comes to an end of which nothing tells. A seccomp
// filter may kill the one thread that matters: the others, which have no filter, wait
// for ever with the report open, and the process as a whole has not ended.
func (st *stage) lookLater() {
	st.look = st.s.loop.after(lookInterval, func() {
		is, ok := readStat(st.pid)
		if !ok || !is.dead || st.pidfd.Readable() {
			st.lookLater()
			return
		}
		switch st.read(); {
		case st.settled, st.told():
		case st.sock != linux.NoFD && !is.filtered():
			st.lookLater() // a process that ends: its other threads have the report open for a moment
		default:
			st.judge()
		}
	})
}

// filtered says that a seccomp filter killed the first thread of a process.
func (s stat) filtered() bool { return s.status&0x7f == linux.SignalBadCall }

// died runs when the process has ended and is not collected yet, so that its
// name is still there to be read.
func (st *stage) died() {
	st.s.loop.stop(st.look)
	st.read()
	if st.settled || st.restores {
		return
	}
	st.s.loop.close(&st.sock)
	st.judge()
}

// judge settles a stage whose first thread is dead: it had become the program, or
// was killed on the way. Whatever still has the report open is not the program.
func (st *stage) judge() {
	if st.told() {
		return // its other threads are about to end, and have the report open until then
	}
	text, _ := linux.Slurp("/proc/"+strconv.Itoa(st.pid)+"/comm", 64)
	name := strings.TrimSpace(string(text))
	is, _ := readStat(st.pid)
	switch {
	case name == program.ActionName && is.status == program.ActionCrash<<8:
		st.conclude(&program.Failure{Step: "start", Reason: program.ActionCrashed})
	case st.sock == linux.NoFD && name != StageName:
		st.conclude(nil)
	case is.filtered():
		st.conclude(&program.Failure{Step: "launch", Reason: "killed by its seccomp filter", Kind: program.FailedFilter})
	default:
		st.conclude(&program.Failure{Step: "launch", Reason: stageKilled})
	}
}
