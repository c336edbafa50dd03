package cri

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/runtime"
)

const securityField = "linux.security_context"

// security are a container's privileges in a pod.
func (s *Server) security(c *criapi.LinuxContainerSecurityContext, pod *runtime.InstanceSpec) (runtime.Security, error) {
	out := runtime.Security{
		Privileged: c.GetPrivileged(), NoNewPrivs: c.GetNoNewPrivs(), ReadonlyRoot: c.GetReadonlyRootfs(),
		AddCaps:     c.GetCapabilities().GetAddCapabilities(),
		DropCaps:    c.GetCapabilities().GetDropCapabilities(),
		AmbientCaps: c.GetCapabilities().GetAddAmbientCapabilities(),
		// In CRI no list means no path: it is how the kubelet asks for an
		// unmasked /proc.
		MaskedPaths:   append([]string{}, c.GetMaskedPaths()...),
		ReadonlyPaths: append([]string{}, c.GetReadonlyPaths()...),
	}
	if out.Privileged && !pod.Privileged {
		return out, invalid(securityField+".privileged", "the pod was not made privileged")
	}
	var err error
	if out.Seccomp, err = seccompProfile(securityField, c.GetSeccomp(), c.GetSeccompProfilePath()); err != nil { //nolint:staticcheck // old clients
		return out, err
	}
	if out.AppArmor, err = s.appArmorProfile(c); err != nil {
		return out, err
	}
	if out.Privileged {
		out.Seccomp = "unconfined"
	}
	for name, paths := range map[string][]string{"masked_paths": out.MaskedPaths, "readonly_paths": out.ReadonlyPaths} {
		for i, path := range paths {
			if !cleanAbs(path) {
				return out, invalid(fmt.Sprintf("%s.%s[%d]", securityField, name, i), "%q is not an absolute path", path)
			}
		}
	}
	if err := user(c, &out); err != nil {
		return out, err
	}
	return out, checkCapabilities(c.GetCapabilities())
}

func user(c *criapi.LinuxContainerSecurityContext, out *runtime.Security) error {
	uid, err := id(securityField+".run_as_user", c.GetRunAsUser())
	if err != nil {
		return err
	}
	gid, err := id(securityField+".run_as_group", c.GetRunAsGroup())
	if err != nil {
		return err
	}
	name := c.GetRunAsUsername()
	switch {
	case uid == nil && name == "" && gid != nil:
		return invalid(securityField+".run_as_group", "is set without a user")
	case uid != nil && name != "":
		return invalid(securityField+".run_as_username", "is set beside run_as_user")
	case strings.ContainsAny(name, ":\x00\n"):
		return invalid(securityField+".run_as_username", "%q is not a user name", name)
	}
	out.User.UID, out.User.GID, out.User.Spec = uid, gid, name
	if name != "" && gid != nil {
		out.User.Spec, out.User.GID = name+":"+strconv.FormatUint(uint64(*gid), 10), nil
	}
	for i, group := range c.GetSupplementalGroups() {
		if group < 0 || group > math.MaxUint32 {
			return invalid(fmt.Sprintf("%s.supplemental_groups[%d]", securityField, i), "%d is not a group", group)
		}
		out.User.Groups = append(out.User.Groups, uint32(group))
	}
	switch p := c.GetSupplementalGroupsPolicy(); p {
	case criapi.SupplementalGroupsPolicy_Merge:
	case criapi.SupplementalGroupsPolicy_Strict:
		out.User.Strict = true
	default:
		return invalid(securityField+".supplemental_groups_policy", "unknown policy %d", p)
	}
	return nil
}

func id(field string, v *criapi.Int64Value) (*uint32, error) {
	if v == nil {
		return nil, nil //nolint:nilnil // not set and not wrong
	}
	// The highest value means "no change" to the kernel.
	if v.GetValue() < 0 || v.GetValue() >= math.MaxUint32 {
		return nil, invalid(field, "%d is not an id", v.GetValue())
	}
	n := uint32(v.GetValue())
	return &n, nil
}

// seccompProfile is the engine's name of a profile. Without one a container is
// unconfined: CRI's rule, and the kubelet always says what it wants.
func seccompProfile(field string, p *criapi.SecurityProfile, old string) (string, error) {
	field += ".seccomp"
	if p == nil {
		return oldProfile(field+"_profile_path", old, true)
	}
	return profile(field, p, true)
}

func oldProfile(field, name string, path bool) (string, error) {
	switch ref, local := strings.CutPrefix(name, "localhost/"); {
	case name == "", name == "unconfined":
		return "unconfined", nil
	case name == "runtime/default", name == "docker/default":
		return "runtime/default", nil
	case local && path && !cleanAbs(ref):
		return "", invalid(field, "profile %q: %q is not an absolute path", name, ref)
	case local && ref != "":
		return name, nil
	default:
		return "", invalid(field, "unknown profile %q", name)
	}
}

func profile(field string, p *criapi.SecurityProfile, path bool) (string, error) {
	if p.GetProfileType() != criapi.SecurityProfile_Localhost && p.GetLocalhostRef() != "" {
		return "", invalid(field+".localhost_ref", "is set, but profile_type is not Localhost")
	}
	switch p.GetProfileType() {
	case criapi.SecurityProfile_RuntimeDefault:
		return "runtime/default", nil
	case criapi.SecurityProfile_Unconfined:
		return "unconfined", nil
	case criapi.SecurityProfile_Localhost:
		ref := strings.TrimPrefix(p.GetLocalhostRef(), "localhost/")
		if ref == "" || strings.ContainsRune(ref, 0) || path && !cleanAbs(ref) {
			return "", invalid(field+".localhost_ref", "%q does not name a profile", ref)
		}
		return "localhost/" + ref, nil
	default:
		return "", invalid(field+".profile_type", "unknown type %d", p.GetProfileType())
	}
}

// appArmorProfile is the profile's name in the kernel, "" for none. A container
// that asks for nothing gets the default one, where the node can have it.
func (s *Server) appArmorProfile(c *criapi.LinuxContainerSecurityContext) (string, error) {
	field, name, err := securityField+".apparmor", "", error(nil)
	if p := c.GetApparmor(); p != nil {
		name, err = profile(field, p, false)
	} else if old := c.GetApparmorProfile(); old != "" { //nolint:staticcheck // old clients
		field += "_profile"
		name, err = oldProfile(field, old, false)
	}
	lsm := s.node.AppArmor
	local, isLocal := strings.CutPrefix(name, "localhost/")
	switch {
	case err != nil:
		return "", err
	case name == "unconfined", name == "" && (!lsm.Enabled || c.GetPrivileged()):
		return "", nil
	case !lsm.Enabled:
		return "", unsupported(field, "profile %q: this node's kernel runs without AppArmor", name)
	case isLocal:
		return local, s.appArmorLoaded(field, local)
	case c.GetPrivileged():
		return "", nil
	}
	def, err := lsm.Default()
	if err != nil && name != "" {
		return "", unsupported(field, "profile %q: %v", name, err)
	}
	if err != nil {
		s.log.Warn("container runs without an AppArmor profile", "error", err)
	}
	return def, nil
}

func (s *Server) appArmorLoaded(field, name string) error {
	loaded, err := s.node.AppArmor.Loaded(name)
	switch {
	case err != nil:
		return fmt.Errorf("%s: find profile %q: %w", field, name, err)
	case !loaded:
		return invalid(field, "profile %q is not loaded on this node; load it with apparmor_parser", name)
	}
	return nil
}

func checkCapabilities(c *criapi.Capability) error {
	known := strings.Fields(`ALL CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
		LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
		SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD
		LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND
		AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
	for list, names := range map[string][]string{
		"add_capabilities": c.GetAddCapabilities(), "drop_capabilities": c.GetDropCapabilities(),
		"add_ambient_capabilities": c.GetAddAmbientCapabilities(),
	} {
		for i, name := range names {
			if !slices.Contains(known, strings.TrimPrefix(strings.ToUpper(name), "CAP_")) {
				return invalid(fmt.Sprintf("%s.capabilities.%s[%d]", securityField, list, i), "unknown capability %q", name)
			}
		}
	}
	return nil
}
