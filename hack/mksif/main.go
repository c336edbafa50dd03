// Command mksif packs a directory, or a root file system made of the machine's
// own static busybox, into a native SIF. It is a tool of the project's tests and
// of its demonstration; it runs nothing in the image.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/siflet/siflet/test/siftest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mksif:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	var o siftest.Options
	var out string
	o.Files = map[string]string{}
	flags := flag.NewFlagSet("mksif", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&out, "o", "", "the SIF to write (required)")
	flags.StringVar(&o.Root, "root", "", "the directory to pack")
	flags.StringVar(&o.Arch, "arch", "", "architecture, a GOARCH name (default this machine's)")
	flags.BoolVar(&o.Busybox, "busybox", false, "add the machine's static busybox and the files every image has")
	flags.StringVar(&o.Startscript, "startscript", "", "with -busybox: shell text that an instance runs")
	flags.StringVar(&o.Runscript, "runscript", "", "with -busybox: shell text of the run command")
	flags.StringVar(&o.Environment, "environment", "", "with -busybox: shell text such as 'export PORT=80'")
	flags.Func("file", "with -busybox: add a file, PATH=TEXT (may be repeated)", func(arg string) error {
		name, text, ok := strings.Cut(arg, "=")
		if !ok {
			return errors.New("want PATH=TEXT")
		}
		o.Files[name] = text
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case out == "":
		return errors.New("name the file to write: -o FILE.sif")
	case o.Root == "" && !o.Busybox:
		return errors.New("name what to pack: -root DIR, -busybox, or both")
	case !o.Busybox:
		return siftest.Pack(ctx, o.Root, out, siftest.PackOptions{Arch: o.Arch})
	default:
		return siftest.Write(ctx, out, o)
	}
}
