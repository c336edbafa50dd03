package linux

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SendPlaces sends copies of files, which the receiver is to have as descriptors 0, 1,
// ...; NoFD leaves that one out. There is room for MaxPassedFDs.
func (f FD) SendPlaces(files []FD) error {
	var places []byte
	var fds []FD
	for place, file := range files {
		if file != NoFD {
			places, fds = append(places, byte(place)), append(fds, file)
		}
	}
	n, err := f.SendFDs(places, fds...)
	if err == nil && n < len(places) {
		err = errors.New("sent in part")
	}
	return err
}

// TakePlaces waits for SendPlaces at the other end and gives the descriptors their
// numbers, which an exec keeps. It is false when the other end is closed. The process
// has no descriptors but 0, 1, 2 and f, which is 3 and may be replaced too.
func (f FD) TakePlaces() (bool, error) {
	var places [MaxPassedFDs]byte
	n, fds, err := 0, []FD(nil), error(ErrAgain)
	for errors.Is(err, ErrAgain) {
		if err := f.AwaitInput(-1); err != nil {
			return false, err
		}
		n, fds, err = f.ReceiveFDs(places[:])
	}
	if err != nil || n == 0 {
		return false, err
	}
	if n != len(fds) {
		return false, fmt.Errorf("%d descriptors for %d places", len(fds), n)
	}
	for i, fd := range fds {
		place := FD(places[i])
		if place >= fd {
			return false, fmt.Errorf("descriptor %d is where another one belongs", fd)
		}
		// Numbers that were let go of are below all that are still to be moved.
		if err := unix.Dup3(int(fd), int(place), 0); err != nil {
			return false, fmt.Errorf("dup: %w", err)
		}
		if err := fd.Close(); err != nil {
			return false, err
		}
	}
	return true, nil
}
