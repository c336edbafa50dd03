package cri

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

type checkpoints interface {
	CheckpointContainer(ctx context.Context, id, location string) error
	CheckpointInstance(ctx context.Context, id, dir string, containers []string) error
	CheckpointedContainers(dir string) (map[string]string, error)
	IsCheckpoint(ref string) bool
}

// CheckpointContainer saves a running container as an archive. Where criu is not
// installed, or does not work with the kernel, it is Unimplemented and says so.
func (s *Server) CheckpointContainer(ctx context.Context, r *criapi.CheckpointContainerRequest) (*criapi.CheckpointContainerResponse, error) {
	c, err := s.container(r.GetContainerId())
	if err != nil {
		return nil, err
	}
	if r.GetTimeout() < 0 {
		return nil, invalid("timeout", "%d is not a time", r.GetTimeout())
	}
	if r.GetTimeout() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(r.GetTimeout()))
		defer cancel()
	}
	if err := checkLocation("location", r.GetLocation()); err != nil {
		return nil, err
	}
	if err := s.engine.CheckpointContainer(ctx, c.ID, r.GetLocation()); err != nil {
		return nil, err
	}
	return &criapi.CheckpointContainerResponse{}, nil
}

// CheckpointPod saves running containers of a pod at one moment.
func (s *Server) CheckpointPod(ctx context.Context, r *criapi.CheckpointPodRequest) (*criapi.CheckpointPodResponse, error) {
	pod, err := s.pod(r.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	if err := noOptions(r.GetOptions()); err != nil {
		return nil, err
	}
	if err := checkLocation("output_path", r.GetOutputPath()); err != nil {
		return nil, err
	}
	if len(r.GetContainerIds()) == 0 {
		return nil, invalid("container_ids", "no containers are named")
	}
	ids := make([]string, 0, len(r.GetContainerIds()))
	for _, id := range r.GetContainerIds() {
		c, err := s.container(id)
		if err != nil {
			return nil, err
		}
		ids = append(ids, c.ID)
	}
	if err := s.engine.CheckpointInstance(ctx, pod.ID, r.GetOutputPath(), ids); err != nil {
		return nil, err
	}
	return &criapi.CheckpointPodResponse{}, nil
}

// RestorePod makes a pod, and containers that go on from a checkpoint when they are
// started; after an error there is none.
func (s *Server) RestorePod(ctx context.Context, r *criapi.RestorePodRequest) (*criapi.RestorePodResponse, error) {
	if err := noOptions(r.GetOptions()); err != nil {
		return nil, err
	}
	if err := checkLocation("checkpoint_path", r.GetCheckpointPath()); err != nil {
		return nil, err
	}
	archives, err := s.engine.CheckpointedContainers(r.GetCheckpointPath())
	if err != nil {
		return nil, err
	}
	configs := map[string]*criapi.ContainerConfig{}
	for i, c := range r.GetContainerConfigs() {
		name := c.GetMetadata().GetName()
		if configs[name] != nil || archives[name] == "" {
			return nil, invalid(fmt.Sprintf("container_configs[%d].metadata.name", i), "%q is there twice or not in the checkpoint", name)
		}
		configs[name] = c
	}
	if len(configs) != len(archives) {
		return nil, invalid("container_configs", "the checkpoint has %d containers: %q", len(archives), slices.Sorted(maps.Keys(archives)))
	}
	pod, err := s.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: r.GetConfig(), RuntimeHandler: r.GetRuntimeHandler()})
	if err != nil {
		return nil, err
	}
	out := &criapi.RestorePodResponse{PodSandboxId: pod.GetPodSandboxId()}
	for _, c := range r.GetContainerConfigs() {
		name := c.GetMetadata().GetName()
		id, err := s.restore(ctx, pod.GetPodSandboxId(), c, archives[name])
		if err != nil {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			if undone := s.engine.RemoveInstance(undo, pod.GetPodSandboxId()); undone != nil {
				return nil, status.Errorf(status.Code(rpcError(err)), "%s; undo: %v", status.Convert(err).Message(), undone)
			}
			return nil, err
		}
		out.RestoredContainers = append(out.RestoredContainers, &criapi.RestoredContainer{Name: name, ContainerId: id})
	}
	return out, nil
}

func (s *Server) restore(ctx context.Context, id string, c *criapi.ContainerConfig, archive string) (string, error) {
	pod, err := s.engine.Instance(id)
	if err != nil {
		return "", err
	}
	spec, err := s.containerSpec(c, &pod.Spec)
	if err != nil {
		return "", err
	}
	spec.Checkpoint = archive
	made, err := s.engine.CreateContainer(ctx, id, spec)
	if err != nil {
		return "", mountError(err)
	}
	return made.ID, nil
}

// fromCheckpoint makes a container whose image is the path of a checkpoint go on from that.
func (s *Server) fromCheckpoint(spec *runtime.ContainerSpec) {
	if s.engine.IsCheckpoint(spec.Image) {
		spec.Checkpoint, spec.Image = spec.Image, ""
	}
}

func checkLocation(field, path string) error {
	switch {
	case path == "":
		return invalid(field, "is missing")
	case !cleanAbs(path):
		return invalid(field, "%q is not an absolute path", path)
	}
	return nil
}

func noOptions(options map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		return invalid(fmt.Sprintf("options[%q]", key), "there is no such option")
	}
	return nil
}
