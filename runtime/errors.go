package runtime

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/plan"
	"github.com/siflet/siflet/runtime/program"
)

// The kinds of error that callers branch on.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrInvalid     = errors.New("invalid")
	ErrNotReady    = errors.New("not ready")   // the target is in the wrong state
	ErrUnavailable = errors.New("unavailable") // the node lacks something, for now
	ErrLimit       = errors.New("limit too low")
	ErrFull        = errors.New("no room left") // on a disk, or among addresses
	ErrBusy        = errors.New("in use by another process")
	ErrDenied      = errors.New("denied by policy") // the image may not run
	ErrUnsupported = errors.New("not supported")    // this machine can't, or siflet can't yet
	ErrVolume      = errors.New("image volume")     // an image can't be mounted into a container
)

// kindError gives an error a kind without changing what it says.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }

// as marks err with a kind.
func as(kind, err error) error { return &kindError{kind: kind, err: err} }

// errorf makes an error of a kind, whose text does not repeat the kind.
func errorf(kind error, format string, args ...any) error {
	return as(kind, fmt.Errorf(format, args...))
}

// classify gives errors of the packages below the kind they have here.
func classify(err error) error {
	var failure *program.Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failure):
		switch failure.Kind {
		case "not_found", "permission", "invalid", program.FailedFilter:
			return as(ErrInvalid, err)
		case "not_running", program.FailedPlace:
			return as(ErrNotReady, err)
		case program.FailedRoom:
			return as(ErrFull, err)
		}
		return err
	case errors.Is(err, plan.ErrInvalid), errors.Is(err, cgroups.ErrInvalid):
		return as(ErrInvalid, err)
	case errors.Is(err, cgroups.ErrNoParent):
		return as(ErrInvalid, err)
	case errors.Is(err, cgroups.ErrNoController):
		return as(ErrUnavailable, err)
	case errors.Is(err, network.ErrPort):
		return as(ErrInvalid, err)
	case errors.Is(err, network.ErrNoAddress):
		return as(ErrFull, err)
	case errors.Is(err, network.ErrPortTaken), errors.Is(err, network.ErrPlugin):
		return as(ErrUnavailable, err)
	}
	return err
}

// askedFor marks an error about a file that was asked for as the client's mistake, unless it
// tells of a disk that is full or read-only.
func askedFor(err error) error {
	for _, node := range []error{linux.ENOSPC, linux.EDQUOT, linux.EROFS} {
		if errors.Is(err, node) {
			return err
		}
	}
	return as(ErrInvalid, err)
}

// missing is nil for an error that says that something is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
