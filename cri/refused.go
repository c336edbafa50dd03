package cri

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const noCheckpoints = "siflet does not checkpoint or restore processes"

// CheckpointContainer is not there.
func (s *Server) CheckpointContainer(context.Context, *criapi.CheckpointContainerRequest) (*criapi.CheckpointContainerResponse, error) {
	return nil, status.Error(codes.Unimplemented, noCheckpoints)
}

// CheckpointPod is not there.
func (s *Server) CheckpointPod(context.Context, *criapi.CheckpointPodRequest) (*criapi.CheckpointPodResponse, error) {
	return nil, status.Error(codes.Unimplemented, noCheckpoints)
}

// RestorePod is not there.
func (s *Server) RestorePod(context.Context, *criapi.RestorePodRequest) (*criapi.RestorePodResponse, error) {
	return nil, status.Error(codes.Unimplemented, noCheckpoints)
}
