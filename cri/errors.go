package cri

import (
	"context"
	"errors"
	"fmt"
	"syscall" //nolint:depguard // the names of errors; no system call

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// code is the gRPC code for an error of the engine, of the image store or of
// this package.
func code(err error) codes.Code {
	kinds := []struct {
		kind error
		code codes.Code
	}{
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{runtime.ErrUnsupported, codes.Unimplemented},
		{runtime.ErrInvalid, codes.InvalidArgument},
		{runtime.ErrDenied, codes.PermissionDenied},
		{trust.ErrPolicy, codes.PermissionDenied},
		{image.ErrDenied, codes.PermissionDenied},
		{registry.ErrReference, codes.InvalidArgument},
		{registry.ErrNotFound, codes.NotFound},
		{registry.ErrDenied, codes.PermissionDenied},
		{registry.ErrUnavailable, codes.Unavailable},
		{registry.ErrCorrupt, codes.DataLoss},
		{image.ErrUnsupported, codes.Unimplemented},
		{image.ErrInvalid, codes.InvalidArgument},
		{image.ErrNotFound, codes.NotFound},
		{runtime.ErrNotFound, codes.NotFound},
		{runtime.ErrExists, codes.AlreadyExists},
		{runtime.ErrNotReady, codes.FailedPrecondition},
		{runtime.ErrUnavailable, codes.Unavailable},
		{runtime.ErrLimit, codes.ResourceExhausted},
		{runtime.ErrFull, codes.ResourceExhausted},
		// What the kernel says, where nobody has made more of it.
		{syscall.ENOSPC, codes.ResourceExhausted},
		{syscall.EDQUOT, codes.ResourceExhausted},
		{syscall.EMFILE, codes.ResourceExhausted},
		{syscall.ENFILE, codes.ResourceExhausted},
		{syscall.ENOMEM, codes.ResourceExhausted},
		{syscall.ENAMETOOLONG, codes.InvalidArgument},
		{syscall.EROFS, codes.FailedPrecondition},
		{syscall.ENOTDIR, codes.FailedPrecondition},
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.code
		}
	}
	return codes.Unknown
}

// rpcError gives err its code. An error that has one already keeps it.
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	var coded interface{ GRPCStatus() *status.Status }
	if errors.As(err, &coded) {
		return err
	}
	return status.Error(code(err), err.Error())
}

// invalid says which field of a request can't be right, and why.
func invalid(field, format string, args ...any) error {
	return status.Error(codes.InvalidArgument, field+": "+fmt.Sprintf(format, args...))
}

// unsupported refuses a field that is right but beyond siflet on this machine.
func unsupported(field, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "%s: not supported: %s", field, fmt.Sprintf(format, args...))
}
