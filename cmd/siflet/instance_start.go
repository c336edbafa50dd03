package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall" //nolint:depguard // the names of signals; no system call

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/cgroups"
	"github.com/siflet/siflet/cmd/internal/notify"
	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/linux"
)

const startHelp = `

What runs is the image's script with ARGS. The service of a Docker or OCI image is its ENTRYPOINT with its CMD,
which ARGS replace, also if it was made into a SIF file without a startscript. Their VOLUMEs are left alone:
what can be written is what the flags say.

A service that a script leaves in the background counts as one: it is up as long as anything runs. With
--restart it is started again after 100ms at first, then after longer and longer, a minute at most.`

// starting is an instance on its way up.
type starting struct {
	w          *workshop
	o          actionOptions
	s          serviceOptions
	verb, name string
	until      condition
	instance   runtime.InstanceSpec
	container  runtime.ContainerSpec
	roots      roots
	// engine opens what makes instances, which one command at a time may have.
	engine  func(context.Context) (*runtime.Engine, error)
	release func() // closes it
	// logged and complained are how much was in the logs before.
	logged, complained int64
	written            string // to the PID file
}

func (w *workshop) startCommand(verb, short string) *cobra.Command {
	s := starting{w: w, verb: verb}
	cmd := &cobra.Command{
		Use: verb + " [flags] IMAGE NAME [ARGS...]", Short: short,
		Long: strings.ToUpper(short[:1]) + short[1:] + "." + startHelp,
		Args: atLeast(2, "want an image and a name: siflet instance "+verb+" IMAGE NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.o.settle(cmd); err != nil {
				return err
			}
			return s.run(cmd, args[0], args[1], args[2:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	s.o.register(cmd.Flags())
	s.s.register(cmd.Flags())
	cmd.Flags().StringVar(&s.o.pidFile, "pid-file", "", "write the PID of the instance's first process to this file")
	return cmd
}

// run starts the instance and waits for it as the flags say.
func (s *starting) run(cmd *cobra.Command, ref, name string, args []string) error {
	ctx := cmd.Context()
	if !validInstanceName(name) || name[0] == '-' {
		return fmt.Errorf("while checking instance name: %s is not a valid instance name; use letters, digits, '.', '_' and, but not first, '-', 128 of them at most", name)
	}
	s.name = name
	var err error
	if s.until, err = parseWait(s.s.wait); err != nil {
		return err
	}
	if s.roots, err = callerRoots(); err != nil {
		return err
	}
	// What a manager says to us is not meant for the service.
	s.o.noEnv = append(s.o.noEnv, notify.Variable, "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
		"INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID")
	if s.until.kind == waitNotify {
		s.o.env = append(s.o.env, notify.Variable+"="+notifyTarget)
	}
	if err := s.specify(ctx, ref, args); err != nil {
		return err
	}
	if s.instance.Attributes, err = s.attributes(cmd, ref, args); err != nil {
		return err
	}
	if err := noteRoots(s.roots); err != nil {
		return err
	}
	way, err := s.o.way(s.w.stderr)
	if err != nil {
		return err
	}
	if s.instance.Resources != nil || s.container.Resources != nil {
		if s.instance.CgroupParent, err = s.parentWithLimits(ctx); err != nil {
			return err
		}
	}
	s.engine = func(ctx context.Context) (*runtime.Engine, error) {
		return s.w.open(ctx, s.roots, func(c *runtime.Config) { c.CDIDirs, c.Unprivileged = s.o.cdiDirs, way })
	}
	engine, err := s.engine(ctx)
	if err != nil {
		return err
	}
	closed := false
	end := func() {
		if !closed {
			closed = true
			_ = engine.Close() // it gives back locks only
		}
	}
	defer end()
	s.release = end
	running, err := s.start(ctx, engine)
	if err != nil || !s.s.foreground {
		return err
	}
	return s.stay(ctx, running)
}

// parentWithLimits is the parent of an instance's group if it is not that of all.
func (s *starting) parentWithLimits(ctx context.Context) (string, error) {
	if linux.IsRoot() {
		return "", nil
	}
	groups, err := cgroups.New(cgroups.Config{Unprivileged: true})
	if err != nil {
		return "", err
	}
	return limited(ctx, groups)
}

// specify says what the instance and its container are made of.
func (s *starting) specify(ctx context.Context, ref string, args []string) error {
	img, err := s.w.findImage(ctx, ref)
	if err != nil {
		return err
	}
	if err := s.o.allowImage(&img); err != nil {
		return err
	}
	if s.s.boot {
		if err := s.bootOptions(); err != nil {
			return err
		}
		args = append([]string{initProgram}, args...)
	}
	if s.instance, s.container, err = s.o.instance(ctx, s.w.stderr, s.verb, img, s.name, args, s.roots); err != nil {
		return err
	}
	if s.s.boot {
		s.boot()
	}
	s.container.StopSignal = s.s.stopSignal
	what := subject{image: imageName(img), instance: s.name}
	if s.container.Service, err = s.s.service(ctx, &s.o, img, what); err != nil {
		return err
	}
	if err := s.until.prepare(ctx, s, what); err != nil {
		return err
	}
	s.instance.StayInCgroup = !s.s.foreground && startedBySystemd()
	kept := instanceAttributes{Image: listedName(img, ref), LogOut: s.container.OutPath, LogErr: s.container.ErrPath, Log: s.container.LogPath}
	s.instance.Attributes, err = json.Marshal(kept)
	return err
}

// startedBySystemd says that this process is what a unit of systemd starts: what it
// leaves belongs to the unit, and is to be where systemd sees its end.
func startedBySystemd() bool { return os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid()) }

func (s *starting) attributes(cmd *cobra.Command, ref string, args []string) ([]byte, error) {
	var kept instanceAttributes
	if err := json.Unmarshal(s.instance.Attributes, &kept); err != nil {
		return nil, err
	}
	kept.Start = startLine(cmd, s.verb, ref, s.name, args)
	kept.Dir, _ = os.Getwd() // of one that is gone nothing is known
	kept.Fakeroot, kept.Env = s.o.fakeroot, cmd.Flags().Changed("env")
	return json.Marshal(kept)
}

// start brings the instance up, or leaves nothing of it but its logs.
func (s *starting) start(ctx context.Context, engine *runtime.Engine) (runtime.Instance, error) {
	told, stop := toldToStop(ctx)
	defer stop()
	// A start that has begun comes to its end, for which whoever can't wait says so twice.
	defer context.AfterFunc(told, stop)()
	if err := clearDead(ctx, engine, s.name); err != nil {
		return runtime.Instance{}, err
	}
	if err := s.until.vacant(ctx, s); err != nil {
		return runtime.Instance{}, err
	}
	if err := s.writePID(0); err != nil {
		return runtime.Instance{}, err
	}
	listener, err := s.until.listen(s) //nolint:contextcheck // what it hears is passed on whatever becomes of the start
	if err != nil {
		return runtime.Instance{}, err
	}
	defer listener.close(s.s.foreground)
	s.logged, s.complained = fileSize(s.container.LogPath), fileSize(s.container.ErrPath)
	running, err := launch(ctx, engine, s.instance, s.container)
	if err != nil {
		return running, errors.Join(startFailure(err, s.container.ErrPath, s.complained), s.removePID())
	}
	if err := s.writePID(firstPID(engine, running)); err != nil {
		return running, errors.Join(err, s.takeBack(ctx, engine, running))
	}
	s.release()
	err = s.await(told, running, listener)
	if told.Err() == nil && err != nil {
		return running, errors.Join(err, s.takeBackLater(ctx, running))
	}
	if told.Err() != nil {
		if err := s.takeBackLater(ctx, running); err != nil {
			return running, fmt.Errorf("instance %s was not up yet, and goes on: %w; stop it: siflet instance stop %[1]s", s.name, err)
		}
		stopped := messageError{text: "INFO:    stopped; instance " + s.name + " was not up yet, and is removed", code: exitInterrupted}
		if s.s.foreground {
			stopped.code = 0 // as later, when it does what a manager tells it
		}
		return running, stopped
	}
	info(s.w.stderr, "instance started successfully")
	return running, nil
}

// toldToStop is a context that ends when this process is told to end by a signal, which
// it then survives.
func toldToStop(ctx context.Context) (context.Context, context.CancelFunc) {
	var signals []os.Signal
	for _, one := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(one) { // by nohup, or a shell that has put us into the background
			signals = append(signals, one)
		}
	}
	if len(signals) == 0 { // which would mean all
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, signals...)
}

// firstPID is that of the first process of the instance's PID namespace.
func firstPID(engine *runtime.Engine, i runtime.Instance) int {
	if c := only(engine.Containers(), i.ID); i.InitPID == 0 && c != nil {
		return c.PID
	}
	return i.InitPID
}

// writePID writes the PID file; without a PID it only sees that it can be written.
func (s *starting) writePID(pid int) error {
	if s.o.pidFile == "" {
		return nil
	}
	text := ""
	if pid != 0 {
		text = strconv.Itoa(pid) + "\n"
	}
	if err := linux.Overwrite(s.o.pidFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("pid file %s: %w", s.o.pidFile, unwrapPath(err))
	}
	s.written = text
	return nil
}

// removePID removes the PID file, unless an instance that somebody else has started meanwhile
// has written its own there.
func (s *starting) removePID() error {
	if s.o.pidFile == "" {
		return nil
	}
	text, err := os.ReadFile(s.o.pidFile)
	if err == nil && string(text) != s.written {
		return nil
	}
	return linux.Unlink(s.o.pidFile)
}
