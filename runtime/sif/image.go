package sif

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// maxDocument bounds the JSON and text objects that are read whole.
const maxDocument = 4 << 20

// Extent is a file system inside a SIF file.
type Extent struct {
	Offset, Size int64
	// FS is "squashfs" or "ext3".
	FS string
	// Compression is the squashfs compressor: "gzip", "zstd" and so on.
	Compression string
}

// Config is what an image says about the process to run in it.
type Config struct {
	Entrypoint, Cmd, Env         []string
	WorkingDir, User, StopSignal string
	Labels                       map[string]string
	Volumes, ExposedPorts        []string
	// Healthcheck is nil if the image has none.
	Healthcheck *Healthcheck
}

// Healthcheck is an image's command that says whether its service is well, as Docker
// writes it.
type Healthcheck struct {
	// Test starts with NONE, CMD or CMD-SHELL.
	Test                           []string      `json:",omitempty"`
	Interval, Timeout, StartPeriod time.Duration `json:",omitempty"`
	Retries                        int           `json:",omitempty"`
}

// Image is what there is to run in a SIF file.
type Image struct {
	// Native says that there is a primary partition rather than OCI layers.
	Native bool
	// Arch is a GOARCH name.
	Arch string
	// Extents are the file systems to stack, lowest first.
	Extents []Extent
	Config  Config
}

// Image finds what there is to run and checks the superblock of every file
// system in it. An encrypted image and one without a file system are
// ErrUnsupported.
func (f *File) Image() (Image, error) {
	if f.IsOCI() {
		return f.ociImage()
	}
	return f.nativeImage()
}

// IsOCI says whether the file is an OCI-SIF.
func (f *File) IsOCI() bool {
	return slices.ContainsFunc(f.Descriptors, func(d Descriptor) bool { return d.Type == TypeOCIIndex })
}

// CheckArch says whether a machine of the architecture goarch can run the image.
// It is ErrArch if not.
func (f *File) CheckArch(goarch string) error {
	mismatch := func(part, arch string) error {
		if runs(goarch, arch) {
			return nil
		}
		return &FormatError{
			Kind: ErrArch, Part: part,
			Reason: fmt.Sprintf("architecture is %s, which can't run on this machine (%s)", arch, goarch),
		}
	}
	if f.IsOCI() {
		image, err := f.ociImage()
		if err != nil {
			return err
		}
		return mismatch("OCI config", image.Arch)
	}
	for _, d := range f.Descriptors {
		if d.Type == TypePartition && d.Part == PartPrimary {
			if err := mismatch(fmt.Sprintf("descriptor %d", d.Slot), d.Arch); err != nil {
				return err
			}
		}
	}
	return mismatch("header", f.Header.Arch)
}

// runs says whether a machine of architecture host runs programs for arch.
func runs(host, arch string) bool {
	return host == arch || host == "amd64" && arch == "386" || host == "arm64" && arch == "arm"
}

func (f *File) nativeImage() (Image, error) {
	image := Image{Native: true}
	var overlays []Extent
	for _, d := range f.Descriptors {
		if d.Type != TypePartition || d.Part != PartPrimary && d.Part != PartOverlay {
			continue
		}
		e, err := f.partition(d)
		if err != nil {
			return Image{}, err
		}
		if d.Part == PartPrimary {
			image.Extents, image.Arch = []Extent{e}, d.Arch
		} else {
			overlays = append(overlays, e)
		}
	}
	if image.Extents == nil {
		return Image{}, unsupported("descriptor table", "no primary partition and no OCI image: there is nothing to run")
	}
	image.Extents = append(image.Extents, overlays...)
	text, err := f.Document("oci-config.json")
	if err != nil || text == nil {
		return image, err
	}
	image.Config, err = parseConfig("oci-config.json", text)
	return image, err
}

func (f *File) partition(d Descriptor) (Extent, error) {
	part := fmt.Sprintf("descriptor %d", d.Slot)
	e := Extent{Offset: d.Offset, Size: d.Size, FS: d.FS.String()}
	switch d.FS {
	case FSSquash, FSExt3:
		var err error
		e.Compression, err = f.superblock(part, e)
		return e, err
	case FSEncryptedSquash:
		return e, unsupported(part, "file system type: the partition is encrypted; encrypted images can't be run yet")
	default:
		return e, unsupported(part, "file system type: a partition of type %s can't be mounted", d.FS)
	}
}

// superblock checks the start of a file system and names its compressor.
func (f *File) superblock(part string, e Extent) (string, error) {
	le := binary.LittleEndian
	if e.FS == FSExt3.String() {
		buf := make([]byte, 64)
		if e.Size < 2048 {
			return "", corrupt(part, "ext3: %d bytes are too few for a superblock", e.Size)
		}
		if err := readAt(f.r, buf, e.Offset+1024); err != nil {
			return "", fmt.Errorf("sif: %s: ext3: %w", part, err)
		}
		if m := le.Uint16(buf[56:]); m != 0xef53 {
			return "", corrupt(part, "ext3: superblock magic is %#04x, not 0xef53", m)
		}
		return "", nil
	}
	const size = 96
	if e.Size < size {
		return "", corrupt(part, "squashfs: %d bytes are too few for a superblock", e.Size)
	}
	buf := make([]byte, size)
	if err := readAt(f.r, buf, e.Offset); err != nil {
		return "", fmt.Errorf("sif: %s: squashfs: %w", part, err)
	}
	compression := le.Uint16(buf[20:])
	names := []string{"", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"}
	switch {
	case string(buf[:4]) != "hsqs":
		return "", corrupt(part, "squashfs: superblock magic is %q, not \"hsqs\"", buf[:4])
	case le.Uint16(buf[28:]) != 4 || le.Uint16(buf[30:]) != 0:
		return "", unsupported(part, "squashfs: version %d.%d, only 4.0 can be mounted", le.Uint16(buf[28:]), le.Uint16(buf[30:]))
	case compression == 0 || int(compression) >= len(names):
		return "", corrupt(part, "squashfs: unknown compression %d", compression)
	case le.Uint64(buf[40:]) > uint64(e.Size):
		return "", corrupt(part, "squashfs: bytes used %d is more than the %d there are", le.Uint64(buf[40:]), e.Size)
	}
	return names[compression], nil
}

// Definition is the text of the definition file, empty if there is none.
func (f *File) Definition() (string, error) {
	for _, d := range f.Descriptors {
		if d.Type == TypeDefinition {
			text, err := f.Read(d)
			return string(text), err
		}
	}
	return "", nil
}

// Document is the named JSON object, such as "inspect-metadata.json" or
// "oci-config.json", nil if there is none.
func (f *File) Document(name string) (text []byte, err error) {
	for _, d := range f.Descriptors {
		if d.Type == TypeJSON && d.Name == name {
			return f.Read(d)
		}
	}
	return text, nil
}

// Labels are the image's labels: those of its inspect-metadata.json, or of a
// labels object as old files have it. Nil if there are none.
func (f *File) Labels() (map[string]string, error) {
	text, err := f.Document("inspect-metadata.json")
	if err != nil {
		return nil, err
	}
	if text != nil {
		var m struct {
			Data struct {
				Attributes struct {
					Labels map[string]string `json:"labels"`
				} `json:"attributes"`
			} `json:"data"`
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, corrupt("inspect-metadata.json", "%v", err)
		}
		return m.Data.Attributes.Labels, nil
	}
	var labels map[string]string
	i := slices.IndexFunc(f.Descriptors, func(d Descriptor) bool { return d.Type == TypeLabels })
	if i < 0 {
		return labels, nil
	}
	if text, err = f.Read(f.Descriptors[i]); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &labels); err != nil {
		return nil, corrupt(fmt.Sprintf("descriptor %d", f.Descriptors[i].Slot), "labels: %v", err)
	}
	return labels, nil
}

// Read reads a small object whole. Objects of more than 4 MiB are refused.
func (f *File) Read(d Descriptor) ([]byte, error) {
	part := fmt.Sprintf("descriptor %d", d.Slot)
	if d.Size > maxDocument {
		return nil, corrupt(part, "size %d is more than a document may have (%d)", d.Size, maxDocument)
	}
	buf := make([]byte, d.Size)
	if err := readAt(f.r, buf, d.Offset); err != nil {
		return nil, fmt.Errorf("sif: %s: %w", part, err)
	}
	return buf, nil
}

// Section reads an object of any size.
func (f *File) Section(d Descriptor) *io.SectionReader {
	return io.NewSectionReader(f.r, d.Offset, d.Size)
}

type rawConfig struct {
	Entrypoint, Cmd, Env         []string
	WorkingDir, User, StopSignal string
	Labels                       map[string]string
	Volumes, ExposedPorts        map[string]struct{}
	Healthcheck                  *Healthcheck
}

func parseConfig(part string, text []byte) (Config, error) {
	var raw rawConfig
	if err := json.Unmarshal(text, &raw); err != nil {
		return Config{}, corrupt(part, "%v", err)
	}
	return raw.config(), nil
}

func (raw *rawConfig) config() Config {
	return Config{
		Entrypoint: raw.Entrypoint, Cmd: raw.Cmd, Env: raw.Env,
		WorkingDir: raw.WorkingDir, User: raw.User, StopSignal: raw.StopSignal, Labels: raw.Labels,
		Volumes: slices.Sorted(maps.Keys(raw.Volumes)), ExposedPorts: slices.Sorted(maps.Keys(raw.ExposedPorts)),
		Healthcheck: raw.Healthcheck,
	}
}
