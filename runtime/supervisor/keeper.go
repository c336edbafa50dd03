package supervisor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/siflet/siflet/runtime/linux"
)

// A keeper runs a program that gives an instance without privileges its network. It is
// outside of the instance's namespaces, where no child of the supervisor could be. A socket
// leads from it to who has the network, in which it says that it is there, and why it is no
// more; when that socket is closed the keeper ends. The program ends with the keeper.
//
//	keeper     holder
//	 'r'   ->          the network is ready
//	 'e'.. ->          it has ended, and why; then the keeper closes the socket
//	       <-  end     the keeper kills the program, waits for its end, and closes the socket
const (
	keeperReady = 'r'
	keeperEnded = 'e'

	keeperLink linux.FD = 3
)

// maxWords bounds what is told of a program's end.
const maxWords = 2 << 10

// Keep is a keeper's whole life. Its arguments are the number of the descriptor with
// which the program says that it is ready, and the program's path and arguments.
func Keep(args []string) error {
	if len(args) < 2 { //nolint:mnd // as said
		return errors.New("want a descriptor and a program")
	}
	number, err := strconv.Atoi(args[0])
	if err != nil || number != 1 && number != 3 {
		return fmt.Errorf("descriptor %q: want 1 or 3", args[0])
	}
	k := keeper{args: args[1:]}
	if err := k.start(number); err != nil {
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
	pid        int
	pidfd      linux.FD
	ready, log linux.FD
	epoll      *linux.Epoll
}

func (k *keeper) start(number int) error {
	_ = linux.SetName("siflet-network")
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
	files[number] = w
	k.pid, k.pidfd, err = linux.Fork(k.args[0], &linux.ForkAttr{
		Args: k.args, Files: files, PIDNamespace: linux.NoFD, DieWithParent: true,
	})
	if err := errors.Join(err, w.Close(), null.Close()); err != nil {
		return err
	}
	if k.epoll, err = linux.NewEpoll(); err != nil {
		return err
	}
	for _, fd := range []linux.FD{keeperLink, k.ready, k.pidfd} {
		if err := k.epoll.Add(fd, linux.EventIn); err != nil {
			return err
		}
	}
	return nil
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
					_, _ = keeperLink.Send([]byte{keeperReady})
				}
				_ = k.epoll.Remove(k.ready) // it says no more
			case keeperLink:
				if n, err := keeperLink.Read(b[:]); n == 0 && !again(err) {
					_ = linux.SignalProcess(k.pidfd, linux.SignalKill)
					return linux.NewChild(k.pid, k.pidfd).Await()
				}
			case k.pidfd:
				code, signal, ended, err := linux.Reap(k.pid)
				if err == nil && !ended {
					continue
				}
				k.tell(k.obituary(code, signal))
				return err
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
