package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
	"github.com/siflet/siflet/runtime/supervisor"
)

// Logs are kept within these bounds unless a flag sets others.
const (
	defaultLogSize  = "10M"
	defaultLogFiles = 3
)

// serviceOptions are the flags of instance start and run about the service in the
// instance.
type serviceOptions struct {
	restart                                    string
	healthCommand                              string
	healthInterval, healthTimeout, healthStart time.Duration
	healthRetries                              int
	noHealthcheck                              bool
	stopSignal                                 string
	logSize                                    string
	logFiles                                   int
	wait                                       string
	waitTimeout                                time.Duration
	foreground, boot                           bool
	stopTimeout                                int
}

func (o *serviceOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.restart, "restart", "no", "start the service again when it ends: no, on-failure[:TIMES] or always")
	flags.StringVar(&o.healthCommand, "health-cmd", "", "a command in the container that succeeds if the service is well (default: the image's HEALTHCHECK)")
	flags.DurationVar(&o.healthInterval, "health-interval", 0, "how often to run it (default 30s)")
	flags.DurationVar(&o.healthTimeout, "health-timeout", 0, "how long it may take (default 30s)")
	flags.DurationVar(&o.healthStart, "health-start-period", 0, "how long the service may take to come up: failures do not count until then")
	flags.IntVar(&o.healthRetries, "health-retries", 0, "failures in a row that make it unhealthy (default 3)")
	flags.BoolVar(&o.noHealthcheck, "no-healthcheck", false, "do not run the image's HEALTHCHECK")
	flags.StringVar(&o.stopSignal, "stop-signal", "", "signal that asks the service to end (default: the image's STOPSIGNAL, or SIGTERM)")
	flags.StringVar(&o.wait, "wait", "", "wait until the service is up: PORT, tcp:HOST:PORT, cmd:COMMAND, notify, healthy; alone: whatever there is to wait for")
	flags.Lookup("wait").NoOptDefVal = waitUp
	flags.DurationVar(&o.waitTimeout, "wait-timeout", time.Minute, "how long to wait for it")
	flags.BoolVar(&o.foreground, "foreground", false, "stay until the service ends, pass on signals, and end as it does: for service managers")
	flags.IntVar(&o.stopTimeout, "stop-timeout", stopSeconds, "with --foreground: seconds that the service has to end when it is told to")
	flags.BoolVar(&o.boot, "boot", false, "run /sbin/init of the image as the first process, with a network, /run, /tmp and cgroups of its own: for images with systemd")
	flags.StringVar(&o.logSize, "log-max-size", defaultLogSize, "put a log aside for a new one when it has so many bytes; 0 for no limit")
	flags.IntVar(&o.logFiles, "log-max-files", defaultLogFiles, "how many files to keep of a log")
}

// service is what the flags and the image say.
func (o *serviceOptions) service(ctx context.Context, a *actionOptions, img image.Image, what subject) (*runtime.Service, error) {
	s := &runtime.Service{LogFiles: o.logFiles}
	var err error
	if o.stopTimeout < 0 || o.waitTimeout < 0 {
		return nil, usageError{text: "--stop-timeout and --wait-timeout must not be negative"}
	}
	if s.Restart, s.Retries, err = restartPolicy(o.restart); err != nil {
		return nil, err
	}
	if s.LogSize, err = parseBytes(o.logSize); err != nil {
		return nil, usageError{text: fmt.Sprintf("--log-max-size %q: %v", o.logSize, err)}
	}
	s.LogSize = max(s.LogSize, 0)
	if o.logFiles < 1 {
		return nil, usageError{text: "--log-max-files must be 1 at least"}
	}
	s.Health, err = o.health(ctx, a, img, what)
	return s, err
}

// restartPolicy reads --restart.
func restartPolicy(text string) (policy string, times int, err error) {
	name, number, limited := strings.Cut(text, ":")
	switch {
	case name == "no" && !limited:
		return "", 0, nil
	case name == supervisor.RestartAlways && !limited, name == "unless-stopped" && !limited:
		// What was stopped is never started again.
		return supervisor.RestartAlways, 0, nil
	case name == supervisor.RestartOnFailure:
		if limited {
			times, err = strconv.Atoi(number)
		}
		if err == nil && (!limited || times > 0) {
			return supervisor.RestartOnFailure, times, nil
		}
	}
	return "", 0, usageError{text: fmt.Sprintf("--restart %q: want no, on-failure, on-failure:TIMES or always", text)}
}

// health is the check of the flags or, without a command there, the image's with
// what the flags change of it; nil if there is none.
func (o *serviceOptions) health(ctx context.Context, a *actionOptions, img image.Image, what subject) (*runtime.HealthCheck, error) {
	if o.noHealthcheck {
		if o.healthCommand != "" {
			return nil, usageError{text: "--no-healthcheck and --health-cmd can't be used together"}
		}
		return nil, nil //nolint:nilnil // none
	}
	if o.healthInterval < 0 || o.healthTimeout < 0 || o.healthStart < 0 || o.healthRetries < 0 {
		return nil, usageError{text: "--health-interval, --health-timeout, --health-start-period and --health-retries must not be negative"}
	}
	h := &runtime.HealthCheck{}
	args := []string{"/bin/sh", "-c", o.healthCommand}
	if own := img.Config.Healthcheck; o.healthCommand == "" {
		if own == nil || len(own.Test) < 2 {
			return nil, nil //nolint:nilnil // the image has none, or says that it inherits none
		}
		switch own.Test[0] {
		case "CMD":
			args = own.Test[1:]
		case "CMD-SHELL":
			args[2] = own.Test[1]
		default:
			return nil, nil //nolint:nilnil // NONE
		}
		h.Interval, h.Timeout, h.StartPeriod, h.Retries = own.Interval, own.Timeout, own.StartPeriod, own.Retries
	}
	for _, change := range []struct {
		flag time.Duration
		of   *time.Duration
	}{{o.healthInterval, &h.Interval}, {o.healthTimeout, &h.Timeout}, {o.healthStart, &h.StartPeriod}} {
		if change.flag > 0 {
			*change.of = change.flag
		}
	}
	if o.healthRetries > 0 {
		h.Retries = o.healthRetries
	}
	h.Args, h.Keep = args, true
	var err error
	if h.Action, err = a.encodedRequest(ctx, discard{}, "exec", args, what); err != nil {
		return nil, err
	}
	return h, nil
}

// discard takes warnings that were given already.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
