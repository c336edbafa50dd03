package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/network"
	"github.com/siflet/siflet/runtime/linux"
	"github.com/siflet/siflet/runtime/program"
)

func TestErrorsOfThePackagesBelowGetTheirKind(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{&program.Failure{Kind: "not_found"}, ErrInvalid},
		{&program.Failure{Kind: "invalid"}, ErrInvalid},
		{&program.Failure{Kind: "not_running"}, ErrNotReady},
		{&program.Failure{Kind: program.FailedPlace}, ErrNotReady},
		{&program.Failure{Kind: program.FailedRoom}, ErrFull},
		{cgroups.ErrInvalid, ErrInvalid},
		{cgroups.ErrNoController, ErrUnavailable},
		{network.ErrPort, ErrInvalid},
		{network.ErrPortTaken, ErrUnavailable},
		{network.ErrPlugin, ErrUnavailable},
		{network.ErrNoAddress, ErrFull},
	} {
		if got := classify(fmt.Errorf("do: %w", c.err)); !errors.Is(got, c.want) {
			t.Errorf("classify(%v) = %v, want it %v", c.err, got, c.want)
		}
	}
}

func TestADiskThatIsFullIsNotTheClientsMistake(t *testing.T) {
	for _, cause := range []error{linux.ENOSPC, linux.EDQUOT, linux.EROFS, linux.ENOTDIR, linux.ENAMETOOLONG} {
		want := errors.Is(cause, linux.ENOTDIR) || errors.Is(cause, linux.ENAMETOOLONG)
		got := askedFor(&fs.PathError{Op: "mkdir", Path: "/logs", Err: cause})
		if errors.Is(got, ErrInvalid) != want || !errors.Is(got, cause) {
			t.Errorf("askedFor(%v) = %v, invalid: want %t", cause, got, want)
		}
	}
}
