package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// fileSize is how long a file is; zero if it is not there.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// maxComplaint bounds what is shown of a log.
const maxComplaint = 4 << 10

// startFailure adds to err what the instance wrote to its log of errors, after
// the first bytes.
func startFailure(err error, path string, before int64) error {
	f, openErr := os.Open(path)
	if openErr != nil {
		return err // it wrote none
	}
	defer f.Close() //nolint:errcheck // read only
	text, readErr := io.ReadAll(io.NewSectionReader(f, before, maxComplaint))
	if said := strings.TrimSpace(string(text)); readErr == nil && said != "" {
		return fmt.Errorf("%w\n%s", err, said)
	}
	return err
}
