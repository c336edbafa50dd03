package cri_test

import (
	"testing"

	"google.golang.org/grpc/status"
)

// second is the error of a call.
func second[T any](_ T, err error) error { return err }

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := status.Code(err).String(); got != code {
		t.Errorf("%s: %s (%v), want %s", what, got, err, code)
	}
}
