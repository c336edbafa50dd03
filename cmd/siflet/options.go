package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/siflet/siflet/cmd/internal/site"
	"github.com/siflet/siflet/cmd/internal/unprivileged"
	"github.com/siflet/siflet/runtime/linux"
)

// actionOptions are the flags that exec, run, shell and instance start|run
// share; names and meaning are Singularity's.
type actionOptions struct {
	app                                   string
	binds, mounts, scratch, overlays      []string
	noMount                               []string
	home, workdir, cwd, shell             string
	noHome, contain, containAll, compat   bool
	writable, writableTmpfs               bool
	env, envFiles, noEnv                  []string
	cleanEnv, noEval, noUmask             bool
	noInstanceEnv                         bool
	pid, noPID, noInit, ipc, uts, net     bool
	network                               string
	networkArgs                           []string
	hostname                              string
	dns                                   []string
	addCaps, dropCaps                     []string
	noPrivs, keepPrivs, allowSetuid       bool
	memory, memoryReservation, memorySwap string
	cpus, cpusetCPUs, cpusetMems          string
	cpuShares, pidsLimit                  int64
	blkioWeight                           uint16
	pidFile                               string
	scriptTimeout                         string
	devices, cdiDirs                      []string
	nv, rocm                              bool
	fakeroot, userns, unsquash            bool
	tmp                                   string
	site                                  site.Conf
	find                                  func() (unprivileged.Way, error)
}

// register adds the flags that every action has.
func (o *actionOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.app, "app", "", "run an app of the image (SCIF)")
	flags.StringArrayVarP(&o.binds, "bind", "B", nil, "bind SRC[:DEST[:ro|rw]], comma separated or repeated")
	flags.StringArrayVar(&o.mounts, "mount", nil, "mount type=bind,source=SRC,destination=DEST[,ro]")
	flags.StringSliceVarP(&o.scratch, "scratch", "S", nil, "a scratch directory at PATH in the container")
	flags.StringSliceVarP(&o.overlays, "overlay", "o", nil, "a directory or an ext3 image file that keeps changes: PATH[:ro]; more of them with :ro")
	flags.StringSliceVar(&o.noMount, "no-mount", nil, "leave out: proc sys dev devpts home tmp cwd bind-paths, or a path")
	flags.StringVarP(&o.home, "home", "H", "", "home directory: SRC[:DEST]")
	flags.BoolVar(&o.noHome, "no-home", false, "do not mount the home directory")
	flags.StringVarP(&o.workdir, "workdir", "W", "", "directory for /tmp, /var/tmp and $HOME with --contain")
	flags.StringVar(&o.cwd, "cwd", "", "working directory in the container")
	flags.StringVar(&o.cwd, "pwd", "", "the same as --cwd")
	flags.BoolVarP(&o.contain, "contain", "c", false, "minimal /dev, empty /tmp and $HOME")
	flags.BoolVarP(&o.containAll, "containall", "C", false, "--contain --pid --ipc --cleanenv")
	flags.BoolVar(&o.compat, "compat", false, "--containall --no-umask --no-eval --writable-tmpfs")
	flags.BoolVarP(&o.writable, "writable", "w", false, "make changes in the image, which must be a sandbox (a directory)")
	flags.BoolVar(&o.writableTmpfs, "writable-tmpfs", false, "a writable root that is forgotten at the end")
	flags.StringVar(&o.scriptTimeout, "runscript-timeout", "", "how long the image's environment scripts may take: 60s")
	o.registerEnvironment(flags)
	o.registerNamespaces(flags)
	o.registerPrivileges(flags)
	o.registerLimits(flags)
	o.registerDevices(flags)
	registerOthers(flags)
}

func (o *actionOptions) registerEnvironment(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.env, "env", nil, "environment of the container: NAME=VALUE[,NAME=VALUE]")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "environment of the container from a file")
	flags.StringSliceVar(&o.noEnv, "no-env", nil, "variables of the caller not to pass on")
	flags.BoolVarP(&o.cleanEnv, "cleanenv", "e", false, "do not pass the caller's environment")
	flags.BoolVar(&o.noEval, "no-eval", false, "do not expand $ in environment values and arguments")
	flags.BoolVar(&o.noUmask, "no-umask", false, "umask 0022 in the container, not the caller's")
}

func (o *actionOptions) registerNamespaces(flags *pflag.FlagSet) {
	flags.BoolVar(&o.noInit, "no-init", false, "with --pid: no init process, the command is PID 1")
	flags.BoolVarP(&o.ipc, "ipc", "i", false, "a new IPC namespace")
	flags.BoolVar(&o.uts, "uts", false, "a new UTS namespace")
	flags.BoolVarP(&o.net, "net", "n", false, "a new network namespace, with a way out (without root by pasta or slirp4netns)")
	flags.StringVar(&o.network, "network", "bridge", "network with --net: bridge or none")
	flags.StringArrayVar(&o.networkArgs, "network-args", nil, "portmap=[ADDRESS:]HOST:CONTAINER[/tcp|/udp], with --net")
	flags.StringVar(&o.hostname, "hostname", "", "host name in the container (implies --uts)")
	flags.StringSliceVar(&o.dns, "dns", nil, "name servers, comma separated")
}

func (o *actionOptions) registerPrivileges(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.addCaps, "add-caps", nil, "capabilities to add")
	flags.StringSliceVar(&o.dropCaps, "drop-caps", nil, "capabilities to drop, or all")
	flags.BoolVar(&o.noPrivs, "no-privs", false, "drop every capability")
	flags.BoolVar(&o.keepPrivs, "keep-privs", false, "keep root's capabilities (the default)")
	flags.BoolVar(&o.allowSetuid, "allow-setuid", false, "honour set-user-ID files in the image (the default for root)")
	flags.BoolVarP(&o.fakeroot, "fakeroot", "f", false, "be root in the container, in a user namespace; root is so anyway")
	flags.BoolVar(&o.unsquash, "unsquash", false, "unpack the image into a temporary directory first, as is done where there is no FUSE; not for root")
	flags.StringVar(&o.tmp, "tmpdir", "", "where to (default $TMPDIR, or /tmp)")
	flags.BoolVarP(&o.userns, "userns", "u", false, "run in a user namespace: what users do anyway")
}

func (o *actionOptions) registerLimits(flags *pflag.FlagSet) {
	flags.StringVar(&o.memory, "memory", "", "memory limit in bytes, or with a unit: 200M, 1G")
	flags.StringVar(&o.memoryReservation, "memory-reservation", "", "soft memory limit")
	flags.StringVar(&o.memorySwap, "memory-swap", "", "limit of memory and swap together; -1 for none")
	flags.StringVar(&o.cpus, "cpus", "", "number of CPUs, may be fractional")
	flags.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs to run on, e.g. 0-3,5")
	flags.StringVar(&o.cpusetMems, "cpuset-mems", "", "memory nodes to use")
	flags.Int64Var(&o.cpuShares, "cpu-shares", -1, "CPU weight")
	flags.Int64Var(&o.pidsLimit, "pids-limit", 0, "number of processes and threads; 0 for no limit")
	flags.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "block I/O weight, 10-1000; 0 for the default")
}

// registerPID adds the flags that instances lack: they always have a PID
// namespace.
func (o *actionOptions) registerPID(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.pid, "pid", "p", false, "a new PID namespace")
	flags.BoolVar(&o.noPID, "no-pid", false, "the host's PID namespace, whatever else is asked")
}

// unsupported are Singularity's and Apptainer's flags that siflet does not
// have yet: the kind, the letter if any, the names.
func unsupported() map[string][]string {
	return map[string][]string{
		"bool": {
			"nvccli", "oom-kill-disable", "sif-fuse",
			"sharens", "intel-hpu",
		},
		"value": {
			"security", "apply-cgroups", "data", "containlibs", "fusemount", "netns-path",
			"blkio-weight-device", "proot", "dmtcp-launch", "dmtcp-restart",
		},
	}
}

// needless are their flags that ask for what siflet does anyway, or speak of what it
// has no need of.
func needless() map[string][]string {
	return map[string][]string{
		"bool": {
			"disable-cache", "no-nv", "no-rocm", "no-compat", "no-setgroups", "underlay", "ignore-subuid",
			"ignore-fakeroot-command", "ignore-userns",
		},
		"value": {},
	}
}

// registerOthers accepts the flags that have no meaning here, hidden.
func registerOthers(flags *pflag.FlagSet) {
	for _, table := range []map[string][]string{unsupported(), needless()} {
		for _, entry := range table["bool"] {
			name, letter, _ := strings.Cut(entry, " ")
			flags.BoolP(name, letter, false, "")
			_ = flags.MarkHidden(name)
		}
		for _, name := range table["value"] {
			flags.StringArray(name, nil, "")
			_ = flags.MarkHidden(name)
		}
	}
}

// settle reads what flags left out from the environment and works out what
// one flag implies for another.
func (o *actionOptions) settle(cmd *cobra.Command) error {
	if err := flagsFromEnvironment(cmd.Flags(), os.LookupEnv); err != nil {
		return err
	}
	for _, entries := range unsupported() {
		for _, entry := range entries {
			name, _, _ := strings.Cut(entry, " ")
			if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed && flag.Value.String() != "false" {
				return fmt.Errorf("--%s is not supported yet; leave it out", name)
			}
		}
	}
	o.imply()
	if err := o.settleSite(cmd); err != nil {
		return err
	}
	return o.check()
}

// imply sets what other flags stand for.
func (o *actionOptions) imply() {
	if o.compat {
		o.containAll, o.noUmask, o.noEval, o.writableTmpfs = true, true, true, true
	}
	if o.containAll {
		o.contain, o.pid, o.ipc, o.cleanEnv = true, true, true, true
	}
	if o.noPID {
		o.pid = false
	}
	if o.hostname != "" {
		o.uts = true
	}
}

// check finds what can't be meant.
func (o *actionOptions) check() error {
	if o.userns && linux.IsRoot() {
		return errors.New("--userns is not supported yet for root; leave it out, or run siflet as an ordinary user")
	}
	if o.unsquash && linux.IsRoot() {
		return errors.New("--unsquash is not supported yet for root, who can mount any image; leave it out")
	}
	if o.writable && (o.writableTmpfs || len(o.overlays) > 0) {
		return usageError{text: "--writable goes with neither --writable-tmpfs nor --overlay"}
	}
	if !slices.Contains([]string{"bridge", "none"}, o.network) {
		return fmt.Errorf("--network %q is not supported yet; want bridge or none", o.network)
	}
	for _, server := range o.dns {
		if _, err := netip.ParseAddr(strings.TrimSpace(server)); err != nil {
			return usageError{text: fmt.Sprintf("--dns %q: want IP addresses of name servers, such as 192.0.2.53", server)}
		}
	}
	if o.cwd != "" && !strings.HasPrefix(o.cwd, "/") {
		return usageError{text: fmt.Sprintf("--cwd %q must be an absolute path", o.cwd)}
	}
	_, err := o.timeout()
	return err
}

// timeout is --runscript-timeout, zero if it is not given.
func (o *actionOptions) timeout() (time.Duration, error) {
	if o.scriptTimeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(o.scriptTimeout)
	if err != nil || d <= 0 {
		return 0, usageError{text: fmt.Sprintf("--runscript-timeout %q: want a time such as 60s", o.scriptTimeout)}
	}
	return d, nil
}

// flagsFromEnvironment sets each flag that was not given from the variable
// named after it: SIFLET_, APPTAINER_ or SINGULARITY_ and its name in capitals,
// the first that is set.
func flagsFromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var failure error
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || failure != nil {
			return
		}
		if name, value := setFor(flag.Name, lookup); name != "" {
			if err := flags.Set(flag.Name, value); err != nil {
				failure = usageError{text: name + ": " + err.Error()}
			}
		}
	})
	return failure
}

// setFor is the variable that sets a flag, and its value; it is empty if there is none.
func setFor(flag string, lookup func(string) (string, bool)) (name, value string) {
	aliases := map[string][]string{
		"bind": {"BIND", "BINDPATH"}, "overlay": {"OVERLAY", "OVERLAYIMAGE"},
		"scratch": {"SCRATCH", "SCRATCHDIR"}, "cwd": {"CWD", "TARGET_CWD"},
		"pwd": {"PWD", "TARGET_PWD"},
		// SINGULARITY_ENV and the like would be too easy to meet by accident.
		"env": nil, "help": nil, "json": nil, "all": nil, "state-dir": nil, "run-dir": nil,
	}
	keys, ok := aliases[flag]
	if !ok {
		keys = []string{strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
	}
	for _, key := range keys {
		for _, prefix := range []string{"SIFLET_", "APPTAINER_", "SINGULARITY_"} {
			if value, found := lookup(prefix + key); found && value != "" {
				return prefix + key, value
			}
		}
	}
	return "", ""
}
