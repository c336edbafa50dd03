// Package trust signs SIF files, verifies the signatures of SIF files and of
// images in registries, keeps keys, and decides by a policy whose signature an
// image needs. It fetches nothing and needs no network.
package trust

import "errors"

// ErrPolicy says that the policy does not let an image run.
var ErrPolicy = errors.New("SignatureValidationFailed")

// Signature is a cosign signature, unverified.
type Signature struct {
	Payload   []byte `json:"payload,omitempty"`
	Signature string `json:"signature,omitempty"`
	Bundle    []byte `json:"bundle,omitempty"`
}

// Subject is an image that someone wants to use.
type Subject struct {
	// References are the names it goes by: "docker.io/library/nginx:latest",
	// "/shared/x.sif".
	References []string
	// Namespace is the Kubernetes namespace; empty for a person's.
	Namespace string
	// ID is the image's; what was verified under an ID is remembered.
	ID string
	// Path is the SIF file, if the image is one.
	Path string
	// Manifests are the digests that Signatures may be about.
	Manifests  []string
	Signatures []Signature
}
