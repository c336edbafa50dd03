// Command bench measures what a pod costs and how fast it starts, over CRI, on
// the machine it runs on. It prints a table and writes the figures as JSON.
//
// It works in mount and network namespaces of its own with an agent of its own
// and leaves nothing behind. It needs root, mksquashfs and a static busybox.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/siflet/siflet/test/apart"
)

// result is one figure: what was measured, and the bar it is held to.
type result struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Bar    float64 `json:"bar,omitempty"`
	Goal   float64 `json:"goal,omitempty"`
	Higher bool    `json:"higher_is_better,omitempty"`
	Note   string  `json:"note,omitempty"`
}

func (r result) met() string {
	switch {
	case r.Bar == 0:
		return ""
	case r.Higher == (r.Value >= r.Bar) || r.Value == r.Bar:
		return "yes"
	default:
		return "NO"
	}
}

func main() {
	out := flag.String("o", "bench.json", "file for the figures as JSON")
	bin := flag.String("bin", "bin", "directory of the binaries")
	only := flag.String("only", "", "comma separated names of the measurements to make (default: all but density, a crowd of 250 pods)")
	base := flag.String("dir", "/var/lib", "where the agent of the benchmark keeps its state")
	var other peer
	flag.StringVar(&other.socket, "peer", "", "measure the container runtime at this socket, unix://PATH, instead of siflet")
	flag.StringVar(&other.image, "peer-image", "", "an image with /bin/sleep that it has")
	flag.StringVar(&other.process, "peer-process", "", "name of the processes, as ps -o comm says it, that each of its pods has")
	inside := flag.Bool("inside", false, "already in namespaces of its own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case other.socket != "":
		err = other.measure(ctx)
	case *inside:
		err = measure(ctx, *bin, *base, *out, *only)
	default:
		err = reenter(ctx)
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
			os.Exit(exit.ExitCode()) // it has said why
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// reenter runs this program again in new mount and network namespaces.
func reenter(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("needs root")
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	return cmd.Run()
}

func measure(ctx context.Context, bin, base, out, only string) (err error) {
	if err := privateRun(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(base, "siflet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	b, err := start(ctx, bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	var results []result
	for _, c := range cases() {
		if only == "" && c.apart || only != "" && !strings.Contains(","+only+",", ","+c.name+",") {
			continue
		}
		began := time.Now()
		found, err := c.run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		results = append(results, found...)
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", c.name, time.Since(began).Seconds())
	}
	if err := show(os.Stdout, results); err != nil {
		return err
	}
	text, err := json.MarshalIndent(results, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

// privateRun keeps every mount of the benchmark in this namespace and gives it
// an empty /run and a loopback interface.
func privateRun() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	const mode = 0o755
	return errors.Join(apart.Cover("/run", mode), apart.Loopback())
}

func show(w io.Writer, results []result) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "measurement\tvalue\tbar\tgoal\tmet\t")
	for _, r := range results {
		_, _ = fmt.Fprintf(tw, "%s\t%s %s\t%s\t%s\t%s\t%s\n", r.Name, number(r.Value), r.Unit, limit(r.Bar), limit(r.Goal), r.met(), r.Note)
	}
	return tw.Flush()
}

func number(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// limit is a bar or a goal; zero is none.
func limit(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}
