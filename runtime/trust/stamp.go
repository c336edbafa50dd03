package trust

import (
	"fmt"
	"io"
	"os"
	"syscall" //nolint:depguard // the fields of a stat that os doesn't name; no system call
	"time"
)

// stamp tells one state of a file from another without reading it. The zero
// stamp is no file's.
type stamp struct {
	dev, inode   uint64
	size         int64
	mtime, ctime int64
}

// newStamp reads a stamp off a stat.
func newStamp(info os.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode, s.ctime = st.Dev, st.Ino, st.Ctim.Nano()
	}
	return s
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return newStamp(info)
}

// coarse is how coarse the clocks of file systems may be, and a bit.
const coarse = 2 * time.Second

// settled says that the stamp would be another one if the file changed now.
// Clocks of file systems are coarse: what changes twice at once has one time.
func (s stamp) settled(now time.Time) bool {
	return s != stamp{} && now.UnixNano()-max(s.mtime, s.ctime) > int64(coarse)
}

// readTrusted reads a file that others must not be able to write.
func readTrusted(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s may be written by others than its owner (mode %04o); run chmod go-w on it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return text, err
}
