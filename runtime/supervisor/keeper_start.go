package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/linux"
)

// Keeper is a process that keeps a network alive, from the side of who started it.
type Keeper struct {
	*Process

	link *os.File
}

// StartKeeper has a program give somebody a network; ready is the descriptor with which it
// says that it has; repeats says that it does the same if it is started again. The keeper ends
// when the link to it is closed, or who holds it dies. It is born in the cgroup v2 directory
// cgroup, if that is not empty.
func StartKeeper(binary *os.File, ready int, repeats bool, args []string, cgroup string) (*Keeper, error) {
	number := strconv.Itoa(ready)
	if repeats {
		number = "0" + number
	}
	null, err := linux.OpenNull()
	if err != nil {
		return nil, err
	}
	defer null.Close() //nolint:errcheck // /dev/null
	ours, theirs, err := linux.Socketpair()
	if err != nil {
		return nil, err
	}
	if err := ours.SetNonblock(); err != nil {
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	link := os.NewFile(uintptr(ours), "link")
	pid, pidfd, err := linux.Fork("", &linux.ForkAttr{
		Exe: linux.FD(binary.Fd()), Args: append([]string{"siflet network", "network", number}, args...),
		Env: append(ChildEnv(), "PATH="+os.Getenv("PATH")), Files: []linux.FD{null, null, null, theirs}, PIDNamespace: linux.NoFD, Setsid: true,
		CgroupDir: cgroup,
	})
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start the keeper of the network: %w", err), link.Close())
	}
	k := &Keeper{Process: &Process{PID: pid}, link: link}
	if err := pidfd.SetNonblock(); err != nil {
		return nil, errors.Join(err, link.Close(), pidfd.Close())
	}
	k.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	return k, nil
}

// Await waits until the network is there, or for words that tell why it is not.
func (k *Keeper) Await(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = k.link.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, maxWords+1)
	n, err := k.link.Read(b)
	switch {
	case n > 0 && b[0] == keeperReady:
		return nil
	case n > 0:
		return errors.New(string(b[1:n]))
	case errors.Is(err, io.EOF):
		return errors.New(keeperLost)
	}
	return errors.Join(err, ctx.Err())
}

// keeperLost is what is known of one that ended without a word.
const keeperLost = "who kept it was killed"

// Lost waits for the end of a network that was ready, and says why. It is empty if that was
// by Close.
func (k *Keeper) Lost() string {
	b := make([]byte, maxWords+1)
	n, err := k.link.Read(b)
	switch {
	case n > 1:
		return string(b[1:n])
	case errors.Is(err, io.EOF):
		return keeperLost
	}
	return ""
}

// Link is the end that holds the network. It is Close's to close.
func (k *Keeper) Link() linux.FD { return linux.FD(k.link.Fd()) }

// Unlink closes the link of one that somebody else holds by now.
func (k *Keeper) Unlink() error { return k.link.Close() }

// Close ends the network, and waits for that. How the keeper ends, which somebody may have
// killed, matters no more.
func (k *Keeper) Close() error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := k.link.Close()
	if werr := k.Wait(ctx); ctx.Err() != nil {
		err = errors.Join(err, werr)
	}
	return err
}
