package pull_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/registrytest"
)

// signer signs images with an ECDSA key as cosign does.
type signer struct {
	signature.SignerVerifier

	path string // of the public key, PEM
}

func newSigner(t *testing.T, dir, name string) *signer {
	t.Helper()
	s, _, err := signature.NewECDSASignerVerifier(elliptic.P256(), rand.Reader, crypto.SHA256)
	must(t, err)
	public, err := s.PublicKey()
	must(t, err)
	if _, ok := public.(*ecdsa.PublicKey); !ok {
		t.Fatalf("the key is %T, want one of ECDSA", public)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	must(t, err)
	path := filepath.Join(dir, name+".pub")
	must(t, os.WriteFile(path, text, 0o600))
	return &signer{s, path}
}

// payloadFor is what cosign signs to say that an image is good.
func payloadFor(t *testing.T, repo string, digest v1.Hash) []byte {
	t.Helper()
	ref, err := name.NewDigest(repo + "@" + digest.String())
	must(t, err)
	text, err := payload.Cosign{Image: ref}.MarshalJSON()
	must(t, err)
	return text
}

// attach signs one text and attaches the signature to an image with another, which may
// be the same, under the tag where cosign looks for it.
func (s *signer) attach(t *testing.T, to registrytest.Pusher, image v1.Hash, signed, shown []byte) {
	t.Helper()
	const repo = "app"
	raw, err := s.SignMessage(bytes.NewReader(signed))
	must(t, err)
	layer := to.PushBlob(t, repo, "application/vnd.dev.cosign.simplesigning.v1+json", shown)
	layer.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(raw)}
	config := to.PushBlob(t, repo, types.OCIConfigJSON, []byte(`{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}`))
	to.PushArtifact(t, repo+":"+image.Algorithm+"-"+image.Hex+".sig", config, layer)
}

// wanting is a policy that wants a key's signature on all images.
func (s *signer) wanting() string {
	return "[[rule]]\nimages = [\"**\"]\nrequire = \"signed\"\nkeys = [\"" + s.path + "\"]\n"
}

func refusedBySignature(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	if text := status.Convert(err).Message(); status.Code(err) != code || !strings.Contains(text, "SignatureValidationFailed: ") {
		t.Errorf("%s: %v, want %s with SignatureValidationFailed", what, err, code)
	}
}

func TestImagesThatCosignSigned(t *testing.T) {
	t.Run("Debian's registry", func(t *testing.T) {
		s := registrytest.Debian(t)
		testSigned(t, s.Pusher, s.Host, s.Certs(t), credentials(s))
	})
	t.Run("a registry with referrers", func(t *testing.T) {
		s := registrytest.New(t)
		testSigned(t, s.Pusher, s.Host, s.Certs(t), nil)
	})
}

func testSigned(t *testing.T, to registrytest.Pusher, host, hosts string, auth *criapi.AuthConfig) {
	t.Helper()
	a := start(t, hosts)
	ours, theirs := newSigner(t, a.dir, "ours"), newSigner(t, a.dir, "theirs")
	writePolicy(t, a.dir, ours.wanting())
	digests := map[string]v1.Hash{}
	for _, tag := range []string{"signed", "unsigned", "theirs", "another", "changed"} {
		config := v1.Config{Cmd: []string{"echo", tag}}
		digests[tag] = to.Push(t, "app:"+tag, registrytest.Image(t, config, busyboxLayer(t))).Digest
	}
	text := func(tag string) []byte { return payloadFor(t, host+"/app", digests[tag]) }
	ours.attach(t, to, digests["signed"], text("signed"), text("signed"))
	theirs.attach(t, to, digests["theirs"], text("theirs"), text("theirs"))
	ours.attach(t, to, digests["another"], text("signed"), text("signed"))
	ours.attach(t, to, digests["changed"], text("signed"), text("changed"))
	for tag, why := range map[string]string{
		"unsigned": "not signed", "theirs": "none is by", "another": digests["signed"].String(), "changed": "none is by",
	} {
		_, err := a.pullAs(host+"/app:"+tag, auth)
		refusedBySignature(t, "pull "+tag, err, codes.Unknown)
		if !strings.Contains(status.Convert(err).Message(), why) {
			t.Errorf("pull %s: %v, want that it says %q", tag, err, why)
		}
		if got := a.image(host + "/app:" + tag); got != nil {
			t.Errorf("what the policy refused is there: %v", got)
		}
	}
	a.checkStore()
	ref := host + "/app:signed"
	if _, err := a.pullAs(ref, auth); err != nil {
		t.Fatalf("pull of a signed image: %v", err)
	}
	p := a.pod("p")
	if got := p.said(p.launch(container("before", ref))); got != "signed\n" {
		t.Errorf("a pod of a signed image wrote %q", got)
	}
	testPolicyChanges(t, p, ref, ours, theirs)
}

// testPolicyChanges starts what was pulled while another key is wanted, and once ours is
// again.
func testPolicyChanges(t *testing.T, p *pod, ref string, ours, theirs *signer) {
	t.Helper()
	create := func(name string) (string, error) {
		made, err := p.CreateContainer(within(t), &criapi.CreateContainerRequest{PodSandboxId: p.id, Config: container(name, ref), SandboxConfig: p.config})
		return made.GetContainerId(), err
	}
	created, err := create("created")
	must(t, err)
	writePolicy(t, p.dir, theirs.wanting())
	_, err = p.StartContainer(within(t), &criapi.StartContainerRequest{ContainerId: created})
	refusedBySignature(t, "start", err, codes.PermissionDenied)
	_, err = create("refused")
	refusedBySignature(t, "create", err, codes.PermissionDenied)
	writePolicy(t, p.dir, ours.wanting())
	if got := p.said(p.launch(container("after", ref))); got != "signed\n" {
		t.Errorf("a pod of a signed image wrote %q", got)
	}
}
