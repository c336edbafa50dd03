package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// blameLink says of an error about a path in dir which link on the way is to blame:
// an absolute one, even, would lead to the host's directories.
func blameLink(dir *os.Root, err error) error {
	var failed *fs.PathError
	if !errors.As(err, &failed) {
		return err
	}
	name := ""
	for part := range strings.SplitSeq(failed.Path, "/") {
		name += part
		target, lerr := dir.Readlink(name)
		if _, serr := dir.Stat(name); lerr == nil && serr != nil {
			return fmt.Errorf("the image has a link to %s at /%s, which a build writes to: leave a directory there, or a relative link to one in the image", target, name)
		}
		name += "/"
	}
	return err
}
