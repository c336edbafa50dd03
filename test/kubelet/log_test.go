package kubelet_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestLogsAreToldAsAsked(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "logs", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sh, -c, "for i in 1 2 3; do echo out $i; echo err $i >&2; done; while [ ! -e /tmp/end ]; do sleep 0.1; done; printf partial; sleep 0.2; echo ' line'; exec sleep 1000"]}
`)
	p.said("c", "err 3")
	p.said("c", "out 3")
	for query, want := range map[string]string{
		"":                                   "out 1 out 2 out 3 err 1 err 2 err 3",
		"tailLines=0":                        "",
		"limitBytes=4":                       "out",
		"sinceTime=2100-01-01T00%3A00%3A00Z": "",
	} {
		text, err := p.logs("c", query)
		got, all := strings.Fields(text), strings.Fields(want)
		slices.Sort(got)
		slices.Sort(all)
		if err != nil || !slices.Equal(got, all) && query != "limitBytes=4" || query == "limitBytes=4" && len(text) != 4 {
			t.Errorf("logs?%s = %q, %v; want %q in some order", query, text, err, want)
		}
	}
	if text, err := p.logs("c", "timestamps=true&tailLines=1"); err != nil || len(text) < 30 || text[10] != 'T' {
		t.Errorf("logs with timestamps are %q, %v", text, err)
	}
	p.shell("c", "touch /tmp/end")
	if text := p.said("c", "partial line\n"); strings.Count(text, "partial") != 1 {
		t.Errorf("the log is %q, want a line in one piece", text)
	}
}

func TestFollowedLogsEndWithTheContainer(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "follow", `
restartPolicy: Never
containers:
- {name: main, image: IMAGE, command: [sh, -c, "echo begin; while [ ! -e /tmp/end ]; do sleep 0.1; done; echo end"]}
`)
	p.said("main", "begin")
	followed := make(chan error, 1)
	go func() {
		text, err := p.logs("main", "follow=true")
		if err == nil && text != "begin\nend\n" {
			err = fmt.Errorf("it was %q", text)
		}
		followed <- err
	}()
	p.shell("main", "touch /tmp/end")
	if err := <-followed; err != nil {
		t.Errorf("the followed log: %v", err)
	}
	p.phase("Succeeded")
}

// written is all lines of a container's log files, the oldest first.
func written(files []string) (lines []string, err error) {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			r, err = gzip.NewReader(f)
		}
		var text []byte
		if err == nil {
			text, err = io.ReadAll(r)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			_, said, _ := strings.Cut(line, " stdout F ")
			lines = append(lines, strings.TrimSpace(said))
		}
	}
	return lines, nil
}

func TestLogsAreTurnedOverWithoutALoss(t *testing.T) {
	t.Parallel()
	p := quiet.run(t, "rotation", `
terminationGracePeriodSeconds: 0
containers:
- {name: c, image: IMAGE, command: [sh, -c, "i=0; while [ ! -e /tmp/end ]; do i=$((i+1)); echo line $i; [ $((i%100)) = 0 ] && sleep 0.05; done; echo end; exec sleep 1000"]}
`)
	s := p.ready()
	dir := filepath.Join(quiet.dir, "logs/pods/default_rotation-node_"+s.Metadata.UID+"/c")
	eventually(t, "logs to be turned over twice", func() error {
		files, err := filepath.Glob(dir + "/*")
		if err == nil && len(files) < 3 {
			err = fmt.Errorf("there are %q", files)
		}
		return err
	})
	p.shell("c", "touch /tmp/end")
	p.said("c", "end")
	files, err := filepath.Glob(dir + "/0.log.*")
	must(t, err)
	slices.Sort(files)
	lines, err := written(append(files, dir+"/0.log"))
	must(t, err)
	if len(lines) < 2 || lines[len(lines)-1] != "end" {
		t.Fatalf("the logs have %d lines, want an end", len(lines))
	}
	first, err := strconv.Atoi(strings.TrimPrefix(lines[0], "line "))
	must(t, err)
	for i, line := range lines[:len(lines)-1] {
		if want := "line " + strconv.Itoa(first+i); line != want {
			t.Fatalf("the logs go on with %q, want %s", line, want)
		}
	}
}
