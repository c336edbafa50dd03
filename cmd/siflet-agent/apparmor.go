package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/moby/profiles/apparmor"

	"github.com/siflet/siflet/cri"
)

// defaultProfile is the name in the kernel of the AppArmor profile of Docker and
// containerd, which containers have that name none.
const defaultProfile = "siflet-default"

func appArmor() cri.AppArmor {
	text, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	if err != nil || !strings.HasPrefix(string(text), "Y") {
		return cri.AppArmor{}
	}
	var loading sync.Mutex
	return cri.AppArmor{
		Enabled: true, Loaded: apparmor.IsLoaded,
		Default: func() (string, error) {
			loading.Lock()
			defer loading.Unlock()
			return loadDefault()
		},
	}
}

func loadDefault() (string, error) {
	if loaded, err := apparmor.IsLoaded(defaultProfile); err != nil {
		return "", fmt.Errorf("list the profiles in the kernel: %w; is securityfs mounted?", err)
	} else if loaded {
		return defaultProfile, nil
	}
	if _, err := exec.LookPath("apparmor_parser"); err != nil {
		return "", errors.New("the default profile can't be loaded: there is no apparmor_parser; install the package apparmor")
	}
	if err := apparmor.InstallDefault(defaultProfile); err != nil {
		return "", fmt.Errorf("load the default profile: %w", err)
	}
	return defaultProfile, nil
}
