package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// addSELinux compiles a policy, which the machine loads before its job.
func addSELinux(ctx context.Context, a *archive, source, dir string) error {
	binary := filepath.Join(dir, "policy")
	// Version 33 is what Linux 5.17 and later take; what the policy does not know is allowed.
	out, err := exec.CommandContext(ctx, "checkpolicy", "-M", "-U", "allow", "-c", "33", "-o", binary, source).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w; install the package checkpolicy", err)
	}
	if err != nil {
		return fmt.Errorf("checkpolicy %s: %w\n%s", source, err, out)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	a.file("/selinux/policy", 0o644, string(text))
	return a.err
}

// loadPolicy must hand it over with one write.
const loadPolicy = `
if [ -f /selinux/policy ]; then
	mount -t selinuxfs selinuxfs /sys/fs/selinux
	dd if=/selinux/policy of=/sys/fs/selinux/load bs=64M 2>/dev/null || echo "vm: the policy does not load" >/dev/console
fi
`
