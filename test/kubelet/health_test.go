package kubelet_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// healthPort names the variable that makes the test binary, in a pod, a server
// that says by gRPC that it serves while there is a file /tmp/well.
const healthPort = "SIFLET_KUBELET_TEST_HEALTH"

// wellness answers health checks.
type wellness struct {
	grpc_health_v1.UnimplementedHealthServer
}

// Check looks for the file.
func (wellness) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	well, err := filepath.Glob("/tmp/well")
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if len(well) > 0 {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: status}, err
}

func serveHealth(port string) (status int) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", ":"+port)
	if err == nil {
		s := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(s, wellness{})
		err = s.Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
