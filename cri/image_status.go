package cri

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime/image"
)

// maxUserName is the longest name that Linux's tools give a user.
const maxUserName = 256

// criImage has of what an image's author wrote only what is short: an answer with
// all images must fit into the 16 MiB that the kubelet reads.
func criImage(i *image.Image) *criapi.Image {
	out := &criapi.Image{
		Id: i.ID, Size: uint64(max(i.Size, 0)), Pinned: i.Kept, RepoDigests: slices.Clone(i.Digests),
		Spec: &criapi.ImageSpec{Image: i.ID},
	}
	for _, ref := range i.References {
		_, digest, hasDigest := strings.Cut(ref, "@")
		switch {
		case strings.Contains(ref, "://") || strings.HasPrefix(ref, "/"):
			// A path has no tag; clients take what follows the last colon for one.
			out.RepoDigests = append(out.RepoDigests, ref+"@"+i.ID)
		case !hasDigest:
			out.RepoTags = append(out.RepoTags, ref)
		case digest != "" && !slices.Contains(out.RepoDigests, ref):
			out.RepoDigests = append(out.RepoDigests, ref)
		}
	}
	user, _, _ := strings.Cut(i.Config.User, ":")
	switch uid, err := strconv.ParseInt(user, 10, 64); {
	case err == nil:
		out.Uid = &criapi.Int64Value{Value: uid}
	case user != "":
		out.Username = strings.ToValidUTF8(user[:min(len(user), maxUserName)], "")
	default:
		out.Uid = &criapi.Int64Value{}
	}
	return out
}

// ociImage is an image's config as OCI writes it, which other runtimes show too.
type ociImage struct {
	Created      time.Time `json:"created,omitzero"`
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       ociConfig `json:"config"`
	RootFS       ociRootFS `json:"rootfs"`
}

type ociConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

type ociRootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// imageInfo is what a verbose status shows: what containerd's does, and where
// siflet has the image.
func imageInfo(i *image.Image) (map[string]string, error) {
	c := &i.Config
	return info(struct {
		ChainID   string         `json:"chainID"`
		ImageSpec ociImage       `json:"imageSpec"`
		Source    string         `json:"source,omitempty"`
		Path      string         `json:"path,omitempty"`
		InPlace   bool           `json:"inPlace"`
		Native    bool           `json:"native"`
		InUse     bool           `json:"inUse"`
		Extents   []image.Extent `json:"extents"`
	}{
		ChainID: chainID(i.Layers),
		ImageSpec: ociImage{
			Created: i.CreatedAt, Architecture: i.Arch, OS: "linux",
			Config: ociConfig{
				User: c.User, ExposedPorts: nameSet(c.ExposedPorts), Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd,
				Volumes: nameSet(c.Volumes), WorkingDir: c.WorkingDir, Labels: c.Labels, StopSignal: c.StopSignal,
			},
			RootFS: ociRootFS{Type: "layers", DiffIDs: i.Layers},
		},
		Source: i.Source, Path: i.Path, InPlace: i.InPlace, Native: i.Native, InUse: i.Pinned, Extents: i.Extents,
	})
}

func nameSet(names []string) map[string]struct{} {
	out := make(map[string]struct{}, len(names))
	for _, name := range names {
		out[name] = struct{}{}
	}
	return out
}

// chainID names a stack of layers, by the rule of OCI's image specification.
func chainID(layers []string) string {
	chain := ""
	for _, diff := range layers {
		if chain == "" {
			chain = diff
			continue
		}
		sum := sha256.Sum256([]byte(chain + " " + diff))
		chain = "sha256:" + hex.EncodeToString(sum[:])
	}
	return chain
}
