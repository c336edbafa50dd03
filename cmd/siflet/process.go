package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime"
	"github.com/siflet/siflet/runtime/image"
)

// plainProcess says what to run in an image without Singularity's scripts: a bare
// SIF, or one of OCI's making with an entry point for a runscript. The environment
// joins as it does in others: the caller's, then the image's, then what was set.
func (o *actionOptions) plainProcess(ctx context.Context, spec *runtime.ContainerSpec, verb string, args []string, img image.Image, what subject) error {
	switch verb {
	case "exec":
		spec.Command = args
	case "shell":
		spec.Command = append(o.plainShell(), args...)
	default:
		// As with native images, arguments replace the image's CMD.
		spec.Args = args
	}
	env, err := o.plainEnv(ctx, verb, img.Config.Env, what)
	spec.Env = o.withLibraries(env, img.Config.Env)
	return err
}

// plainShell is the shell to run where no script of the image chooses one.
func (o *actionOptions) plainShell() []string {
	if o.shell != "" {
		return []string{o.shell}
	}
	return []string{"/bin/sh"}
}

// plainEnv is the environment as NAME=VALUE where no shell of ours makes it:
// values are taken as they are.
func (o *actionOptions) plainEnv(ctx context.Context, verb string, fromImage []string, s subject) ([]string, error) {
	req, err := o.request(ctx, io.Discard, verb, nil, os.Environ(), s)
	if err != nil {
		return nil, err
	}
	var env []string
	for _, entry := range req.Host {
		name, _, _ := strings.Cut(entry, "=")
		inImage := slices.ContainsFunc(fromImage, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if !inImage && !slices.Contains([]string{"PATH", "LD_LIBRARY_PATH", "HOME", "PWD"}, name) {
			env = append(env, entry)
		}
	}
	env = append(env, "HOME="+req.HomeDir)
	if verb == "shell" {
		env = append(env, "PS1=Singularity> ")
	}
	for _, v := range req.Set {
		env = append(env, v.Name+"="+v.Value)
	}
	if req.Path != "" {
		env = append(env, "PATH="+req.Path)
	}
	return append(env, req.Defaults...), nil
}
