package cri

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/registry"
	"github.com/siflet/siflet/runtime/trust"
)

// PullImage makes an image known to the node and returns its id. It ends when the
// client leaves; what others pull at the same time goes on.
func (s *Server) PullImage(ctx context.Context, r *criapi.PullImageRequest) (*criapi.PullImageResponse, error) {
	ref, err := s.reference(r.GetImage())
	if err != nil {
		return nil, err
	}
	auth, err := credentials(r.GetAuth())
	if err != nil {
		return nil, err
	}
	pull := s.pulls.begin(ref)
	pulled, err := s.images.Pull(ctx, ref, image.PullOptions{
		Auth: auth, Namespace: r.GetSandboxConfig().GetMetadata().GetNamespace(), Progress: pull.progress,
		Read: pull.read,
	})
	pull.end(ctx, err)
	if err != nil {
		return nil, pullError(ctx, err)
	}
	return &criapi.PullImageResponse{ImageRef: pulled.ID}, nil
}

// credentials are those of a pull; nil when it brings none, so that the node's
// own are used.
func credentials(a *criapi.AuthConfig) (*registry.Auth, error) {
	auth := registry.Auth{
		Username: a.GetUsername(), Password: a.GetPassword(), Auth: a.GetAuth(),
		IdentityToken: a.GetIdentityToken(), RegistryToken: a.GetRegistryToken(), ServerAddress: a.GetServerAddress(),
	}
	for field, value := range map[string]string{
		"username": auth.Username, "password": auth.Password, "auth": auth.Auth, "server_address": auth.ServerAddress,
		"identity_token": auth.IdentityToken, "registry_token": auth.RegistryToken,
	} {
		if strings.ContainsAny(value, "\r\n\x00") {
			return nil, invalid("auth."+field, "holds a line break")
		}
	}
	if auth == (registry.Auth{ServerAddress: auth.ServerAddress}) {
		return nil, nil //nolint:nilnil // none is a fine answer
	}
	return &auth, nil
}

// pullError is an error of a pull as the kubelet wants it: it knows two kinds by
// the word that the message of an Unknown begins with. ctx is the caller's.
func pullError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, trust.ErrPolicy):
		return named(crierrors.ErrSignatureValidationFailed, err)
	case errors.Is(err, registry.ErrUnavailable):
		return named(crierrors.ErrRegistryUnavailable, err)
	}
	return err
}

func named(name, err error) error {
	text := strings.TrimPrefix(err.Error(), name.Error()+": ")
	return status.Error(codes.Unknown, name.Error()+": "+strings.ReplaceAll(text, ": "+name.Error()+": ", ": "))
}
