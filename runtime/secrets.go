package runtime

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/record"
)

// secrets is what of a container's spec may be nobody else's business: what people put
// into environments. It is no part of the record, which may be on a disk, in a home
// directory, in a backup. It is a file among the run files, in memory, which goes with
// them, and is readable by the engine's user alone.
type secrets struct {
	Env          []string `json:"env,omitempty"`
	Action       []byte   `json:"action,omitempty"`
	HealthEnv    []string `json:"health_env,omitempty"`
	HealthAction []byte   `json:"health_action,omitempty"`
}

const secretsSuffix = ".secrets.json"

func (c *container) secretsPath() string {
	return filepath.Join(c.inst.run, c.id+secretsSuffix)
}

// clearRun removes the run files of an instance that has ended, but for what its records
// are not complete without, and what hooks that are still to run read. They go with those.
func (i *instance) clearRun() error {
	entries, err := os.ReadDir(i.run)
	if err != nil {
		return missing(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasSuffix(name, secretsSuffix) && !strings.HasSuffix(name, bundleSuffix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(i.run, entry.Name())))
		}
	}
	return err
}

// apart takes the secrets out of a spec.
func (s ContainerSpec) apart() (ContainerSpec, secrets) {
	out := secrets{Env: s.Env, Action: s.Action}
	s.Env, s.Action = nil, nil
	if s.Service != nil && s.Service.Health != nil {
		service, health := *s.Service, *s.Service.Health
		out.HealthEnv, out.HealthAction = health.Env, health.Action
		health.Env, health.Action = nil, nil
		service.Health = &health
		s.Service = &service
	}
	return s, out
}

// restore puts them back.
func (x *secrets) restore(s *ContainerSpec) {
	s.Env, s.Action = x.Env, x.Action
	if s.Service != nil && s.Service.Health != nil {
		s.Service.Health.Env, s.Service.Health.Action = x.HealthEnv, x.HealthAction
	}
}

// MarshalJSON writes the record, without what is kept apart from it.
func (r containerRecord) MarshalJSON() ([]byte, error) {
	type plain containerRecord
	if r.Apart {
		r.Spec, _ = r.Spec.apart()
	}
	return json.Marshal(plain(r))
}

// keepApart writes the secrets of a record that is about to be written.
func (c *container) keepApart(rec *containerRecord) error {
	_, x := rec.Spec.apart()
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	rec.Apart = true
	return os.WriteFile(c.secretsPath(), text, 0o600)
}

// loadSecrets completes a record that was read, as long as the run files are there.
func (c *container) loadSecrets() error {
	if !c.rec.Apart {
		return nil
	}
	var x secrets
	err := record.Read(c.secretsPath(), &x)
	if errors.Is(err, fs.ErrNotExist) {
		c.forgot = true
		return nil
	}
	if errors.Is(err, record.ErrCorrupt) {
		c.forgot, c.rec.Reason = true, err.Error()
		return nil
	}
	x.restore(&c.rec.Spec)
	return err
}
