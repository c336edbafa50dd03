package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/siflet/siflet/runtime"
)

// logOptions are the flags of instance logs.
type logOptions struct {
	follow, stdout, stderr bool
	tail                   int
}

func (w *workshop) logsCommand() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use: "logs [flags] NAME", Short: "show what an instance or a pod has written",
		Args: exactly(1, "want the name of an instance"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.stdout && !o.stderr {
				o.stdout, o.stderr = true, true
			}
			files, err := w.logFiles(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			return showLogs(cmd.Context(), cmd.OutOrStdout(), files, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.follow, "follow", "f", false, "go on as more is written, until the instance ends")
	flags.IntVar(&o.tail, "tail", -1, "start this many lines before the end of each log")
	flags.BoolVar(&o.stdout, "stdout", false, "only what went to standard output")
	flags.BoolVar(&o.stderr, "stderr", false, "only what went to standard error")
	return cmd
}

// logFile is one file to show, and whether more may come.
type logFile struct {
	path string
	cri  bool // in the kubelet's format
	live func(context.Context) bool
}

// logFiles finds the logs of a running instance or pod, or those that an ended
// instance left.
func (w *workshop) logFiles(ctx context.Context, name string, o logOptions) ([]logFile, error) {
	t, err := w.target(ctx, name)
	if errors.Is(err, runtime.ErrNotFound) {
		return w.keptLogs(name, o, err)
	}
	if err != nil {
		return nil, err
	}
	live := func(ctx context.Context) bool {
		again, err := w.target(ctx, name)
		// What an instance's first process left running writes to its logs too.
		return err == nil && (!again.instance.Spec.Pod || again.container.State == runtime.ContainerRunning)
	}
	var files []logFile
	spec := t.container.Spec
	for _, file := range []struct {
		path         string
		wanted, kube bool
	}{
		{spec.ErrPath, o.stderr, false},
		{spec.OutPath, o.stdout, false},
		{t.container.LogPath, true, true},
	} {
		if file.path != "" && file.wanted && !slices.ContainsFunc(files, func(f logFile) bool { return f.path == file.path }) {
			files = append(files, logFile{path: file.path, cri: file.kube, live: live})
		}
	}
	return files, nil
}

func (w *workshop) keptLogs(name string, o logOptions, cause error) ([]logFile, error) {
	r, err := callerRoots()
	if err != nil || !validInstanceName(name) {
		return nil, errors.Join(err, cause)
	}
	var files []logFile
	for path, wanted := range map[string]bool{r.logs + "/" + name + ".err": o.stderr, r.logs + "/" + name + ".out": o.stdout} {
		if _, err := os.Stat(path); err == nil && wanted {
			files = append(files, logFile{path: path, live: func(context.Context) bool { return false }})
		}
	}
	if len(files) == 0 {
		return nil, cause
	}
	slices.SortFunc(files, func(a, b logFile) int { return bytes.Compare([]byte(a.path), []byte(b.path)) })
	return files, nil
}

// showLogs writes the files one after the other and then, when following, what
// comes, in the order it comes.
func showLogs(ctx context.Context, w io.Writer, files []logFile, o logOptions) error {
	var open []*os.File
	defer func() {
		for _, f := range open {
			_ = f.Close() // read only
		}
	}()
	for _, file := range files {
		f, err := os.Open(file.path)
		if err != nil {
			return fmt.Errorf("log %s: %w", file.path, unwrapPath(err))
		}
		open = append(open, f)
		if err := seekTail(f, o.tail); err != nil {
			return fmt.Errorf("log %s: %w", file.path, err)
		}
		if err := copyLog(w, f, file.cri, o); err != nil {
			return err
		}
	}
	if !o.follow {
		return nil
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		live := files[0].live(ctx)
		for i, f := range open {
			if err := copyLog(w, f, files[i].cri, o); err != nil {
				return err
			}
		}
		if !live {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func copyLog(w io.Writer, f *os.File, cri bool, o logOptions) error {
	if !cri {
		_, err := io.Copy(w, f)
		return err
	}
	// A line of the kubelet's format: time, stream, F or P, text.
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			// Half a line: it is read again when it is whole.
			_, err := f.Seek(-int64(len(line)), io.SeekCurrent)
			return err
		}
		fields := bytes.SplitN(line, []byte(" "), 4)
		if len(fields) < 4 || string(fields[1]) == "stdout" && !o.stdout || string(fields[1]) == "stderr" && !o.stderr {
			continue
		}
		if string(fields[2]) == "P" {
			fields[3] = bytes.TrimSuffix(fields[3], []byte("\n"))
		}
		if _, err := w.Write(fields[3]); err != nil {
			return err
		}
	}
	return nil
}

// seekTail moves to the last lines of a file; fewer than zero means all.
func seekTail(f *os.File, lines int) error {
	if lines < 0 {
		return nil
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if lines == 0 {
		return nil
	}
	block := make([]byte, 64<<10)
	end := size
	for end > 0 {
		start := max(0, end-int64(len(block)))
		n, err := f.ReadAt(block[:end-start], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := n - 1; i >= 0; i-- {
			if block[i] != '\n' || start+int64(i) == size-1 {
				continue
			}
			if lines--; lines <= 0 {
				_, err := f.Seek(start+int64(i)+1, io.SeekStart)
				return err
			}
		}
		end = start
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

func exactly(n int, text string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{text: text}
		}
		return nil
	}
}
