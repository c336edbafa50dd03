package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// peer is another container runtime, which runs already and has the image.
type peer struct {
	socket, image string
	process       string // what each of its pods pays for, as /proc/PID/comm has it
}

// measure says how long its pods take to run on the node's network, one after another, and
// what they cost in memory beside their own processes.
func (p peer) measure(ctx context.Context) (err error) {
	const pods = 20
	conn, err := grpc.NewClient(p.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	b := &bench{runtime: criapi.NewRuntimeServiceClient(conn)}
	var taken []time.Duration
	var ran []*pod
	defer func() {
		for _, r := range ran {
			err = errors.Join(err, b.down(context.WithoutCancel(ctx), r.id))
		}
	}()
	for range pods {
		one := b.newPod(criapi.NamespaceMode_NODE, p.image, "/bin/sleep", "1000")
		began := time.Now()
		err := b.up(ctx, one)
		taken = append(taken, time.Since(began))
		if one.id != "" {
			ran = append(ran, one)
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("pod up, host net: %.1f ms (median of %d)\n", median(taken), pods)
	if p.process == "" {
		return nil
	}
	found, memory := memoryOf(p.process)
	fmt.Printf("%s: %d processes on this machine, %.2f MB (PSS) each\n", p.process, found, memory/1e6/float64(max(found, 1)))
	return nil
}

// memoryOf adds up what processes of a name take, their share of what they share.
func memoryOf(name string) (found int, memory float64) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // a pattern that is right
	for _, dir := range dirs {
		comm, _ := os.ReadFile(dir + "/comm") // it may have ended
		if strings.TrimSpace(string(comm)) != name {
			continue
		}
		if share, err := field(dir+"/smaps_rollup", "Pss:"); err == nil {
			found, memory = found+1, memory+share
		}
	}
	return found, memory
}
