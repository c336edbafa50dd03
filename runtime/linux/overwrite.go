package linux

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Overwrite gives a file new contents, making it if it is not there. It follows
// no link at the end of the path, waits for nobody, and writes to a regular file
// with no other name only: whoever can write to the directory could have put
// anything there.
func Overwrite(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if errors.Is(err, unix.ELOOP) {
		return errors.New("it is a symbolic link, which is not followed")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var st unix.Stat_t
	switch err := unix.Fstat(int(f.Fd()), &st); {
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is no regular file")
	case st.Nlink > 1:
		return errors.New("the file has other names too")
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.Write(data)
	return err
}
