// Package trust signs SIF files, verifies the signatures of SIF files and of
// images in registries, keeps keys, and decides by a policy whose signature an
// image needs. It fetches nothing and needs no network.
//
// SIF files are signed as Singularity and Apptainer do: PGP, or DSSE for other
// keys. Images in registries are signed by cosign, with a key: keyless
// signatures, which a certificate authority and a transparency log vouch for, are
// nobody's here.
//
// # The policy
//
// A policy is a TOML file, /etc/siflet/policy.toml on a node:
//
//	default = "accept"             # or "reject": what no rule speaks of
//
//	[[rule]]                       # the first that matches decides
//	images = ["registry.example.org/prod/**", "/shared/*.sif"]
//	namespaces = ["prod", "team-*"]
//	require = "signed"             # or "accept", "reject"
//	keys = ["12045C8C0B1004D058DE4BEDA20C27EE7FF7BA84", "/etc/siflet/keys/release.pub"]
//	match = "any"                  # or "all" of the keys
//
// Images are named in full: docker.io/library/nginx, /shared/x.sif. In a pattern *
// is anything but a slash, ** anything. A pattern without a tag or digest
// matches all of them. One with a tag also matches what was fetched by digest
// alone if the rule is a strict one, and doesn't if it accepts: a digest is no way
// around a rule. The names of a registry that mean the same (case, port 443,
// index.docker.io) are the same, and so are a path and what it links to, and
// library://x and library://library/default/x. A strict rule for a web address holds
// whatever query is added to it, and over http too. Other host names that lead to the
// same registry are not known as such, for which default = "reject" is the remedy.
//
// A rule without namespaces is for all of them, and for people at the prompt,
// who are in none. An image with several names must satisfy the rule of each of
// them; names that no rule matches don't count unless there are no others. An ID is
// no name: what has only that must satisfy every rule that doesn't accept.
//
// keys are fingerprints of keys in the directory "keys" beside the policy, or paths
// of files, any key in which will do. "signed" means that all that is in a SIF
// file, or the manifest of an image in a registry, is signed by the key, the
// signature is not a legacy one, and the key or certificate has not expired or been
// revoked. The chain of a certificate that a policy names is not followed.
//
// The files may be written by their owner only. They are read again when they
// change; while the policy can't be read, nothing runs. The same is true of a policy that
// somebody named and that is not there, or no longer. Where one may be that nobody
// named, its absence lets everything run, and so does its removal, which the log tells.
//
// A SIF file is hashed whole when it is first asked for. It is remembered by
// device, inode, size and times, of which root and network file systems are the
// masters: a file in place must not be writable by those whom the policy is
// about.
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
