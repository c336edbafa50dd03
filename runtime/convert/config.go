package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/siflet/siflet/runtime/source"
)

// imageConfig is what a flat SIF takes from an OCI config.
type imageConfig struct {
	Architecture, OS string
	Created          time.Time
	process
	// inner is the config's own config as it is.
	inner json.RawMessage
}

// process is what the config says about the program to run.
type process struct {
	Entrypoint, Cmd, Env []string
	Labels               map[string]string
}

func parseConfig(text []byte) (imageConfig, error) {
	var raw struct {
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		Created      string          `json:"created"`
		Config       json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return imageConfig{}, fmt.Errorf("image config: %w", err)
	}
	c := imageConfig{Architecture: raw.Architecture, OS: raw.OS, inner: json.RawMessage("{}")}
	if c.OS != "" && c.OS != "linux" {
		return c, fmt.Errorf("%w: image config: os is %q, only linux can be run", source.ErrUnsupported, c.OS)
	}
	// A time that can't be read is as good as none.
	if at, err := time.Parse(time.RFC3339Nano, raw.Created); err == nil && at.Unix() > 0 {
		c.Created = at.UTC()
	}
	if len(raw.Config) > 0 && string(raw.Config) != "null" {
		if err := json.Unmarshal(raw.Config, &c.process); err != nil {
			return c, fmt.Errorf("image config: %w", err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw.Config); err != nil {
			return c, fmt.Errorf("image config: %w", err)
		}
		c.inner = compact.Bytes()
	}
	for _, arg := range slices.Concat(c.Entrypoint, c.Cmd) {
		if strings.Contains(arg, "\x00") {
			return c, errors.New("image config: the command has an argument with a NUL byte, which no program can be given")
		}
	}
	return c, nil
}
