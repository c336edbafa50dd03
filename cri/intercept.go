package cri

import (
	"context"
	"log/slog"
	"path"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unary gives every call its code, its line in the log, and a floor: a panic
// ends the call, not the agent.
func (s *Server) unary(ctx context.Context, request any, call *grpc.UnaryServerInfo, next grpc.UnaryHandler) (answer any, err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, s.panicked(call.FullMethod, p)
		}
		if err != nil {
			answer, err = nil, rpcError(err)
		}
		s.logCall(ctx, call.FullMethod, start, err)
	}()
	return next(ctx, request)
}

// stream is unary for calls that answer more than once.
func (s *Server) stream(server any, stream grpc.ServerStream, call *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(call.FullMethod, p)
		}
		err = rpcError(err)
		s.logCall(stream.Context(), call.FullMethod, start, err)
	}()
	return next(server, stream)
}

func (s *Server) panicked(method string, value any) error {
	s.log.Error("panic", "method", path.Base(method), "value", value, "stack", string(debug.Stack()))
	return status.Errorf(codes.Internal, "%s: internal error; the agent's log has more", path.Base(method))
}

// logCall logs what the call was and how it ended, never what was in it.
func (s *Server) logCall(ctx context.Context, method string, start time.Time, err error) {
	if s.pulls.meter != nil {
		s.pulls.meter.CallEnds(path.Base(method), status.Code(err).String(), time.Since(start))
	}
	level := slog.LevelDebug
	switch status.Code(err) {
	case codes.OK, codes.Canceled:
	case codes.Unknown, codes.Internal, codes.DataLoss, codes.Unavailable:
		level = slog.LevelWarn
	default:
		level = slog.LevelInfo
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("method", path.Base(method)), slog.Duration("took", time.Since(start))}
	if err != nil {
		attrs = append(attrs, slog.String("code", status.Code(err).String()), slog.String("error", status.Convert(err).Message()))
	}
	s.log.LogAttrs(ctx, level, "call", attrs...)
}
