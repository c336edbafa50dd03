package cri

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

// identities remember who the first process of each container was when it
// started: it may become somebody else. The zero value works.
type identities struct {
	mu    sync.Mutex
	users map[string]*criapi.ContainerUser
}

// of is the identity of a container's first process: nil before it runs, and
// when it had ended before anybody asked.
func (i *identities) of(c *runtime.Container, instance func(id string) (runtime.Instance, error)) *criapi.ContainerUser {
	i.mu.Lock()
	known := i.users[c.ID]
	i.mu.Unlock()
	if known != nil || c.State != runtime.ContainerRunning || c.PID == 0 {
		return known
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID))
	if err != nil {
		return nil // it has ended meanwhile
	}
	user := parseIdentity(string(text))
	if user == nil {
		return nil
	}
	pod, err := instance(c.InstanceID)
	if err != nil {
		return nil // it is being removed
	}
	insideUser(user, pod.Spec.Namespaces.User)
	i.mu.Lock()
	defer i.mu.Unlock()
	if known = i.users[c.ID]; known != nil {
		return known // whoever was first was nearer to the start
	}
	if i.users == nil {
		i.users = map[string]*criapi.ContainerUser{}
	}
	i.users[c.ID] = user
	return user
}

// userOf is the identity of a container's first process, as the container sees it.
func (s *Server) userOf(c *runtime.Container) *criapi.ContainerUser {
	return s.users.of(c, func(id string) (runtime.Instance, error) { return s.engine.Instance(id) })
}

// keep forgets all but those that alive says are there.
func (i *identities) keep(alive func(id string) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id := range i.users {
		if !alive(id) {
			delete(i.users, id)
		}
	}
}

// parseIdentity reads a process's real ids from its status file; nil when it is
// no such file. The group is among the supplementary ones, as others report it.
func parseIdentity(text string) *criapi.ContainerUser {
	user, found := &criapi.LinuxContainerUser{}, 0
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(line, ":")
		var ids []int64
		for word := range strings.FieldsSeq(rest) {
			if n, err := strconv.ParseInt(word, 10, 64); err == nil {
				ids = append(ids, n)
			}
		}
		switch {
		case name == "Uid" && len(ids) > 0:
			user.Uid = ids[0]
			found++
		case name == "Gid" && len(ids) > 0:
			user.Gid = ids[0]
			found++
		case name == "Groups":
			user.SupplementalGroups = ids
		}
	}
	if found != 2 {
		return nil
	}
	if !slices.Contains(user.SupplementalGroups, user.Gid) {
		user.SupplementalGroups = slices.Insert(user.SupplementalGroups, 0, user.Gid)
	}
	return &criapi.ContainerUser{Linux: user}
}

// forgetRemoved drops what is remembered of containers and pods that are gone.
func (s *Server) forgetRemoved() {
	known := func(id string) bool {
		if _, err := s.engine.Container(id); err == nil {
			return true
		}
		_, err := s.engine.Instance(id)
		return err == nil
	}
	s.users.keep(known)
	s.rates.keep(known)
}
