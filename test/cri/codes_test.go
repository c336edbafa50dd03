package cri_test

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// second is the error of a call.
func second[T any](_ T, err error) error { return err }

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := status.Code(err).String(); got != code {
		t.Errorf("%s: %s (%v), want %s", what, got, err, code)
	}
}

// call makes any call by its name and returns its error; of a stream, what ends it or
// the first answer.
func (a *agent) call(m protoreflect.MethodDescriptor, request proto.Message) error {
	a.t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		a.t.Fatal(err)
	}
	name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	answer := kind.New().Interface()
	if !m.IsStreamingServer() {
		return a.conn.Invoke(within(a.t), name, request, answer)
	}
	s, err := a.conn.NewStream(within(a.t), &grpc.StreamDesc{ServerStreams: true}, name)
	if err == nil {
		err = s.SendMsg(request)
	}
	if err == nil {
		err = s.CloseSend()
	}
	if err == nil {
		err = s.RecvMsg(answer)
	}
	return err
}

// emptyRequest is one that says nothing.
func (a *agent) emptyRequest(m protoreflect.MethodDescriptor) proto.Message {
	a.t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		a.t.Fatal(err)
	}
	return kind.New().Interface()
}

// fill sets every message in a request, and in those, to so many levels; texts become
// text.
func fill(m protoreflect.Message, depth int, text string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.MessageKind && depth > 0:
			e := m.Mutable(f).List().AppendMutable().Message()
			fill(e, depth-1, text)
		case f.IsList() && f.Kind() == protoreflect.StringKind && text != "":
			m.Mutable(f).List().Append(protoreflect.ValueOfString(text))
		case f.Kind() == protoreflect.MessageKind && !f.IsList() && depth > 0:
			fill(m.Mutable(f).Message(), depth-1, text)
		case f.Kind() == protoreflect.StringKind && !f.IsList() && text != "":
			m.Set(f, protoreflect.ValueOfString(text))
		}
	}
}

// Calls without anything in them, with nothing but empty messages and with nonsense in
// every text are the client's mistakes, if any: never the node's.
func TestCallsThatSayNothingOrNonsense(t *testing.T) {
	a := start(t)
	const id, pod, image = "container_id: is missing", "pod_sandbox_id: is missing", "image.image: is missing"
	wants := map[string]string{ // of the empty request; none is success
		"RunPodSandbox": "metadata.name: is missing", "CreateContainer": pod, "StartContainer": id, "StopContainer": id, "RemoveContainer": id,
		"StopPodSandbox": pod, "RemovePodSandbox": pod, "PodSandboxStatus": pod, "PodSandboxStats": pod, "UpdatePodSandboxResources": pod,
		"PortForward": pod, "ContainerStatus": id, "ContainerStats": id, "UpdateContainerResources": id, "ReopenContainerLog": id,
		"ExecSync": id, "Exec": id, "Attach": id, "CheckpointContainer": id, "CheckpointPod": pod, "RestorePod": "checkpoint_path: is missing",
		"ImageStatus": image, "PullImage": image, "RemoveImage": image,
	}
	services := criapi.File_staging_src_k8s_io_cri_api_pkg_apis_runtime_v1_api_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			m := methods.Get(j)
			name := string(m.Name())
			if name == "GetContainerEvents" {
				continue // it waits for some
			}
			err := a.call(m, a.emptyRequest(m))
			if want := wants[name]; want != "" {
				wantRefusal(t, name, err, "InvalidArgument", want)
			} else if err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v, want success", name, err)
			}
			const levels = 4
			for _, text := range []string{"", "garbage", "../../x", "a\x01\n"} {
				r := a.emptyRequest(m)
				fill(r.ProtoReflect(), levels, text)
				err := a.call(m, r)
				if errors.Is(err, io.EOF) {
					continue
				}
				switch code := status.Code(err); code {
				case codes.OK, codes.InvalidArgument, codes.NotFound:
				default:
					t.Errorf("%s with %q: %v", name, text, err)
				}
			}
		}
	}
}
