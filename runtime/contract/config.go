package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config is what an image made of a Docker or OCI one takes from its config.
type Config struct {
	Architecture, OS string
	Created          time.Time
	Process
	// Inner is the config's own config as it is.
	Inner json.RawMessage
}

// Process is what the config says about the program to run.
type Process struct {
	Entrypoint, Cmd, Env []string
	Labels               map[string]string
}

// ParseConfig reads an OCI config.
func ParseConfig(text []byte) (Config, error) {
	var raw struct {
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		Created      string          `json:"created"`
		Config       json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Config{}, fmt.Errorf("image config: %w", err)
	}
	c := Config{Architecture: raw.Architecture, OS: raw.OS, Inner: json.RawMessage("{}")}
	// A time that can't be read is as good as none.
	if at, err := time.Parse(time.RFC3339Nano, raw.Created); err == nil && at.Unix() > 0 {
		c.Created = at.UTC()
	}
	if len(raw.Config) > 0 && string(raw.Config) != "null" {
		if err := json.Unmarshal(raw.Config, &c.Process); err != nil {
			return c, fmt.Errorf("image config: %w", err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw.Config); err != nil {
			return c, fmt.Errorf("image config: %w", err)
		}
		c.Inner = compact.Bytes()
	}
	for _, arg := range slices.Concat(c.Entrypoint, c.Cmd) {
		if strings.Contains(arg, "\x00") {
			return c, errors.New("image config: the command has an argument with a NUL byte, which no program can be given")
		}
	}
	return c, nil
}
