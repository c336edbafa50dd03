package supervisor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// A keeper runs a program that gives an instance without privileges its network. It is
// outside of the instance's namespaces, where no child of the supervisor could be. A socket
// leads from it to who has the network, in which it says that it is there, and why it is no
// more; when that socket is closed the keeper ends. The program ends with the keeper.
//
//	keeper     holder
//	 'r'   ->          the network is ready
//	       <-  'h'..   the process, by its number, that the network's namespace is that of
//	 'a'.. ->          it had ended, and why, and is ready again: not without 'h'
//	 'e'.. ->          it has ended, and why; then the keeper closes the socket
//	       <-  end     the keeper kills the program, waits for its end, and closes the socket
const (
	keeperReady  = 'r'
	keeperEnded  = 'e'
	keeperAgain  = 'a'
	keeperHolder = 'h'

	keeperLink linux.FD = 3
)

// maxWords bounds what is told of a program's end.
const maxWords = 2 << 10

// Keep is a keeper's whole life. Its arguments are the number of the descriptor with
// which the program says that it is ready, 0 before it if the program can be started again, and
// the program's path and arguments.
func Keep(args []string) error {
	if len(args) < 2 { //nolint:mnd // as said
		return errors.New("want a descriptor and a program")
	}
	number, err := strconv.Atoi(args[0])
	if err != nil || number != 1 && number != 3 {
		return fmt.Errorf("descriptor %q: want 1 or 3", args[0])
	}
	_ = linux.SetName("siflet-network")
	k := keeper{args: args[1:], number: number, repeats: args[0][0] == '0'}
	if k.epoll, err = linux.NewEpoll(); err == nil {
		err = k.epoll.Add(keeperLink, linux.EventIn)
	}
	if err == nil {
		err = k.start()
	}
	if err != nil {
		k.tell(err.Error())
		return err
	}
	if err := k.watch(); err != nil {
		k.tell(err.Error())
		return err
	}
	return nil
}

type keeper struct {
	args       []string
	number     int // of the descriptor
	pid        int
	pidfd      linux.FD
	ready, log linux.FD
	epoll      *linux.Epoll
	repeats    bool
	holder     string
	again      string    // why it had to be started again, until it is ready
	since      time.Time // its last start
	starts     int       // that were again, one soon after the other
}

func (k *keeper) start() error {
	k.since = time.Now()
	null, err := linux.OpenNull()
	if err != nil {
		return err
	}
	if k.log, err = linux.MemFile("log", nil); err != nil {
		return err
	}
	r, w, err := linux.NewPipe()
	if err != nil {
		return err
	}
	k.ready = r
	files := []linux.FD{null, null, k.log, linux.NoFD}
	files[k.number] = w
	k.pid, k.pidfd, err = linux.Fork(k.args[0], &linux.ForkAttr{
		Args: k.args, Files: files, PIDNamespace: linux.NoFD, DieWithParent: true,
	})
	if err := errors.Join(err, w.Close(), null.Close()); err != nil {
		return err
	}
	return errors.Join(k.epoll.Add(k.ready, linux.EventIn), k.epoll.Add(k.pidfd, linux.EventIn))
}

// dismissed takes in what the holder says, or that it wants no network any more.
func (k *keeper) dismissed() bool {
	var b [64]byte
	n, err := keeperLink.Read(b[:])
	if n > 1 && b[0] == keeperHolder {
		k.holder = string(b[1:n])
	}
	return n == 0 && !again(err)
}

// reap says whether the program has ended for good, and tells it.
func (k *keeper) reap() (over bool, err error) {
	code, signal, ended, err := linux.Reap(k.pid)
	if err == nil && !ended {
		return false, nil
	}
	why := k.obituary(code, signal)
	if err == nil && k.restart(why) {
		return false, nil
	}
	if k.again != "" {
		why = k.again + ", and " + why
	}
	k.tell(why)
	return true, err
}

// restart starts a program again that was ready and has ended, if that is of use. Whose
// namespaces it was started for is gone since; the holder is in them too.
func (k *keeper) restart(why string) bool {
	const often, within = 3, time.Minute
	if time.Since(k.since) > within {
		k.starts = 0
	}
	k.starts++
	if !k.repeats || k.holder == "" || k.again != "" || k.starts > often {
		return false
	}
	for i, arg := range k.args {
		if rest, ok := strings.CutPrefix(arg, "/proc/"); ok {
			if _, kind, ok := strings.Cut(rest, "/ns/"); ok {
				k.args[i] = "/proc/" + k.holder + "/ns/" + kind
			}
		}
	}
	_ = errors.Join(k.ready.Close(), k.pidfd.Close(), k.log.Close()) // of the one before
	k.again = why
	if err := k.start(); err != nil {
		k.tell(why + "; " + err.Error())
		return false
	}
	return true
}

// isReady tells that the program is ready.
func (k *keeper) isReady() {
	if k.again == "" {
		_, _ = keeperLink.Send([]byte{keeperReady})
		return
	}
	_, _ = keeperLink.Send(append([]byte{keeperAgain}, k.again[:min(len(k.again), maxWords)]...))
	k.again = ""
}

func (k *keeper) watch() error {
	var b [64]byte
	for {
		events, err := k.epoll.Wait(-1)
		if err != nil {
			return err
		}
		for _, event := range events {
			switch event.FD { //nolint:exhaustive // no other is waited for
			case k.ready:
				if n, _ := k.ready.Read(b[:]); n > 0 {
					k.isReady()
				}
				_ = k.epoll.Remove(k.ready) // it says no more
			case keeperLink:
				if k.dismissed() {
					_ = linux.SignalProcess(k.pidfd, linux.SignalKill)
					return linux.NewChild(k.pid, k.pidfd).Await()
				}
			case k.pidfd:
				if over, err := k.reap(); over || err != nil {
					return err
				}
			}
		}
	}
}

// obituary is how the program ended, and what it said.
func (k *keeper) obituary(code, signal int) string {
	name := k.args[0][strings.LastIndexByte(k.args[0], '/')+1:]
	if signal != 0 {
		return name + " was killed by signal " + strconv.Itoa(signal)
	}
	text := name + " ended with status " + strconv.Itoa(code)
	f, err := k.log.ReadAgain()
	if err != nil {
		return text
	}
	defer f.Close() //nolint:errcheck // read only
	said, _ := f.Slurp(maxReport)
	var words []string
	for line := range strings.Lines(string(said)) {
		// pasta complains of a system without a logger, line by line.
		if line = strings.TrimSpace(line); line != "" && !strings.HasSuffix(line, "bytes to syslog") {
			words = append(words, line)
		}
	}
	if len(words) > 0 {
		text += ": " + strings.Join(words, "; ")
	}
	return text
}

func (k *keeper) tell(words string) {
	words = words[:min(len(words), maxWords)]
	_, _ = keeperLink.Send(append([]byte{keeperEnded}, words...))
}
