package sif

import "fmt"

// OCIBlob is a blob of the image in an OCI-SIF.
type OCIBlob struct {
	MediaType, Digest string
	Annotations       map[string]string
	Object            Descriptor
}

// OCIContent is the image in an OCI-SIF as a registry has it.
type OCIContent struct {
	// Manifest is as it is in the file, of the type MediaType.
	MediaType string
	Manifest  []byte
	Config    OCIBlob
	Layers    []OCIBlob
}

// OCIContent is that of an OCI-SIF. The manifest and the config are checked against their
// digests, the layers not.
func (f *File) OCIContent() (OCIContent, error) {
	manifest, err := f.manifest()
	if err != nil {
		return OCIContent{}, err
	}
	all, err := f.blobs()
	if err != nil {
		return OCIContent{}, err
	}
	var m struct {
		Config ociDescriptor   `json:"config"`
		Layers []ociDescriptor `json:"layers"`
	}
	if err := f.ociDocument("OCI manifest", all, manifest, &m); err != nil {
		return OCIContent{}, err
	}
	var config any
	if err := f.ociDocument("OCI config", all, m.Config, &config); err != nil {
		return OCIContent{}, err
	}
	out := OCIContent{MediaType: manifest.MediaType}
	if out.Manifest, err = f.Read(all[manifest.Digest]); err != nil {
		return out, err
	}
	of := func(part string, d ociDescriptor) OCIBlob {
		var object Descriptor
		if err == nil {
			object, err = all.find(part, d)
		}
		return OCIBlob{d.MediaType, d.Digest, d.Annotations, object}
	}
	out.Config = of("OCI config", m.Config)
	for i, layer := range m.Layers {
		out.Layers = append(out.Layers, of(fmt.Sprintf("OCI layer %d", i), layer))
	}
	return out, err
}
