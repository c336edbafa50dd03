package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
)

// PodFile describes the checkpoint of a pod: a directory with an archive of each container.
const PodFile = "pod.options"

const podVersion = 1

// Pod is pod.options, as checkpointctl has it.
type Pod struct {
	Version int `json:"version"`
	// Containers are the archives' names in the directory, by those of the containers.
	Containers  map[string]string `json:"containers"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// WritePod writes pod.options in dir.
func WritePod(dir string, p Pod) error {
	p.Version = podVersion
	return WriteJSON(filepath.Join(dir, PodFile), p)
}

// ReadPod reads pod.options in dir and makes the archives' names paths.
func ReadPod(dir string) (Pod, error) {
	var p Pod
	err := readJSON(filepath.Join(dir, PodFile), &p)
	switch {
	case err != nil:
	case p.Version != podVersion:
		err = fmt.Errorf("version %d is not known", p.Version)
	case len(p.Containers) == 0:
		err = errors.New("names no container")
	}
	for name, file := range p.Containers {
		if !filepath.IsLocal(file) || file != filepath.Base(file) {
			return p, fmt.Errorf("%s: container %q: %q is not the name of a file", PodFile, name, file)
		}
		p.Containers[name] = filepath.Join(dir, file)
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w", PodFile, err)
	}
	return p, nil
}
