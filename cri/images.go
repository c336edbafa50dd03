package cri

import (
	"context"
	"errors"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime/image"
)

// Images is the image store; *image.Store is one.
type Images interface {
	Pull(ctx context.Context, ref string, o image.PullOptions) (image.Image, error)
	Lookup(ref string) (image.Image, error)
	List() ([]image.Image, error)
	Remove(ctx context.Context, ref string) error
	ImagesOnDisk
}

// ImagesOnDisk is what images take, and what is wrong with their records.
type ImagesOnDisk interface {
	Usage() (bytes, inodes uint64, mountpoint string, err error)
	Intact() error
}

// ListImages lists the images that were pulled or imported.
func (s *Server) ListImages(_ context.Context, r *criapi.ListImagesRequest) (*criapi.ListImagesResponse, error) {
	list, err := s.listImages(r.GetFilter())
	return &criapi.ListImagesResponse{Images: list}, err
}

// StreamImages is ListImages in parts.
func (s *Server) StreamImages(r *criapi.StreamImagesRequest, stream criapi.ImageService_StreamImagesServer) error {
	list, err := s.listImages(r.GetFilter())
	if err != nil {
		return err
	}
	return inParts(list, func(part []*criapi.Image) error {
		return stream.Send(&criapi.StreamImagesResponse{Images: part})
	})
}

func (s *Server) listImages(f *criapi.ImageFilter) ([]*criapi.Image, error) {
	if ref := imageName(f.GetImage()); ref != "" {
		found, err := s.lookup(ref)
		if found == nil || err != nil {
			return nil, err
		}
		return []*criapi.Image{criImage(found)}, nil
	}
	all, err := s.images.List()
	if err != nil {
		return nil, err
	}
	list := make([]*criapi.Image, 0, len(all))
	for i := range all {
		if !all[i].Removed() {
			list = append(list, criImage(&all[i]))
		}
	}
	return list, nil
}

// lookup is the image that was pulled or imported by this name, or nil. The
// store finds any file by its path too, but one that nobody pulled by that path is no
// image of this node yet: the pull asks the policy about the path, and keeps it. One
// that was removed while a container uses it is none any more.
func (s *Server) lookup(ref string) (*image.Image, error) {
	found, err := s.images.Lookup(ref)
	if errors.Is(err, image.ErrNotFound) {
		return nil, nil //nolint:nilnil // absent is no error
	}
	if err != nil {
		return nil, err
	}
	if !found.Known || found.Removed() {
		return nil, nil //nolint:nilnil // absent is no error
	}
	return &found, nil
}

// ImageStatus describes an image; the answer is empty when it is absent.
func (s *Server) ImageStatus(_ context.Context, r *criapi.ImageStatusRequest) (*criapi.ImageStatusResponse, error) {
	ref, err := s.reference(r.GetImage())
	if err != nil {
		return nil, err
	}
	found, err := s.lookup(ref)
	if err != nil || found == nil {
		return &criapi.ImageStatusResponse{}, err
	}
	out := &criapi.ImageStatusResponse{Image: criImage(found)}
	if r.GetVerbose() {
		out.Info, err = imageInfo(found)
	}
	return out, err
}

// RemoveImage removes an image with all its names; one that is absent is
// removed.
func (s *Server) RemoveImage(ctx context.Context, r *criapi.RemoveImageRequest) (*criapi.RemoveImageResponse, error) {
	ref, err := s.reference(r.GetImage())
	if err != nil {
		return nil, err
	}
	if err := s.images.Remove(ctx, ref); err != nil && !errors.Is(err, image.ErrNotFound) {
		return nil, err
	}
	return &criapi.RemoveImageResponse{}, nil
}

// ImageFsInfo says how much room images and containers' writable layers take.
// If both are on one file system they have one mount point, by which clients know that.
func (s *Server) ImageFsInfo(context.Context, *criapi.ImageFsInfoRequest) (*criapi.ImageFsInfoResponse, error) {
	bytes, inodes, mountpoint, err := s.images.Usage()
	if err != nil {
		return nil, err
	}
	used := s.engine.DiskUsage(mountpoint)
	return &criapi.ImageFsInfoResponse{
		ImageFilesystems:     []*criapi.FilesystemUsage{filesystem(time.Now(), mountpoint, bytes, inodes)},
		ContainerFilesystems: []*criapi.FilesystemUsage{filesystem(used.At, used.Path, used.Bytes, used.Inodes)},
	}, nil
}

func filesystem(at time.Time, mountpoint string, bytes, inodes uint64) *criapi.FilesystemUsage {
	return &criapi.FilesystemUsage{
		Timestamp: at.UnixNano(), FsId: &criapi.FilesystemIdentifier{Mountpoint: mountpoint},
		UsedBytes: number(bytes), InodesUsed: number(inodes),
	}
}

func number(n uint64) *criapi.UInt64Value { return &criapi.UInt64Value{Value: n} }

func (s *Server) reference(i *criapi.ImageSpec) (string, error) {
	if i.GetImage() == "" {
		return "", invalid("image.image", "is missing")
	}
	return imageName(i), s.checkHandler("image.runtime_handler", i.GetRuntimeHandler())
}

// imageName is the image that a client means, as the engine knows it.
func imageName(i *criapi.ImageSpec) string { return image.LocalFile(i.GetImage()) }
