package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What servers say shows in logs and on terminals.
func TestOpenRepeatsNothingThatATerminalObeys(t *testing.T) {
	s := serve(t)
	digest := "sha256:" + strings.Repeat("ab", 32)
	part := `{"mediaType":"application/%s","size":2,"digest":"` + digest + `"}`
	config, layer := fmt.Sprintf(part, "vnd.oci.image.config.v1+json"), fmt.Sprintf(part, `x-\u001b[31mfoo`)
	platform := `{"mediaType":"` + string(types.OCIManifestSchema1) + `","size":2,"digest":"` + digest + `","platform":{"os":"\u001b[31mos","architecture":"x"}}`
	for name, text := range map[string]string{
		"layer":    `{"config":` + config + `,"layers":[` + layer + `]}`,
		"config":   `{"config":` + layer + `,"layers":[]}`,
		"artifact": `{"artifactType":"\u001b[31mfoo","config":` + layer + `,"layers":[]}`,
		"manifest": `{"mediaType":"a/\u001b[31mfoo","config":` + layer + `,"layers":[]}`,
		"platform": `{"manifests":[` + platform + `]}`,
		"url":      `{"config":` + config + `,"layers":[{"mediaType":"` + string(types.DockerForeignLayer) + `","digest":"` + digest + `","size":2,"urls":["\u001b[31mx"]}]}`,
	} {
		kind := types.OCIManifestSchema1
		if name == "platform" {
			kind = types.OCIImageIndex
		}
		s.answer(string(kind), text)
		_, err := Open(t.Context(), s.host+"/x:latest", Options{})
		if err == nil || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), "?[31m") {
			t.Errorf("%s: %q, want what it is, with nothing that a terminal obeys", name, err)
		}
	}
}
