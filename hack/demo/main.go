// Command demo is `make run`: it makes a small service image out of the
// machine's own busybox, starts the agent, runs a pod from the image over CRI,
// fetches its page, and keeps the agent serving until Ctrl-C.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/siflet/siflet/test/siftest"
)

const (
	socket = "/run/siflet/siflet.sock"
	page   = "hello from a SIF\n"
	port   = 8080
)

func main() {
	image := flag.String("image", "/var/tmp/siflet-demo/web.sif", "where the demo's image is made")
	clean := flag.Bool("clean", os.Getenv("CLEAN") != "", "at the end remove everything, without asking (CLEAN=1)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *image, *clean); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is what the steps share.
type demo struct {
	image   string
	agent   *exec.Cmd
	gone    chan error // the agent's end
	runtime criapi.RuntimeServiceClient
	images  criapi.ImageServiceClient
	pod     string
	address string
	fresh   []string // directories of the agent that were not there before
}

func run(ctx context.Context, image string, clean bool) error {
	if os.Getuid() != 0 {
		return errors.New("needs root: sudo make run")
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the end of the program
	d := &demo{image: image, fresh: missing("/var/lib/siflet", "/run/siflet"), runtime: criapi.NewRuntimeServiceClient(conn), images: criapi.NewImageServiceClient(conn)}
	for _, s := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"make " + image + " from busybox", d.makeImage},
		{"start the agent on " + socket, d.startAgent},
		{"pull the image (used in place)", d.pull},
		{"run a pod", d.runPod},
		{"start its container", d.startContainer},
		{"fetch its page", d.fetch},
	} {
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s.title, err), d.finish(true))
		}
		fmt.Printf("%8.1f ms  %s\n", float64(time.Since(began).Microseconds())/1000, s.title)
	}
	d.invite()
	select {
	case <-ctx.Done():
	case err := <-d.gone:
		return fmt.Errorf("the agent ended: %w", err)
	}
	return d.finish(clean || term.IsTerminal(int(os.Stdin.Fd())) && ask(os.Stdin))
}

func (d *demo) makeImage(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(d.image), 0o755); err != nil {
		return err
	}
	if err := os.Remove(d.image); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return siftest.Write(ctx, d.image, siftest.Web(page))
}

func (d *demo) startAgent(ctx context.Context) error {
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
		return errors.Join(errors.New("an agent already serves "+socket+"; stop it first"), conn.Close())
	}
	d.agent = exec.Command("bin/siflet", "agent", "--log-level", "warn")
	d.agent.Stdout, d.agent.Stderr = os.Stdout, os.Stderr
	// Ctrl-C is ours: the agent stops after the pod.
	d.agent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.agent.Start(); err != nil {
		return err
	}
	d.gone = make(chan error, 1)
	go func() { d.gone <- d.agent.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		// gRPC itself would wait a second before it tries again.
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket); err == nil {
			return errors.Join(conn.Close(), d.removePods(ctx))
		}
		select {
		case err := <-d.gone:
			d.agent = nil
			return fmt.Errorf("it ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("nobody answers on %s: %w", socket, ctx.Err())
		case <-tick.C:
		}
	}
}

func missing(dirs ...string) (absent []string) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			absent = append(absent, dir)
		}
	}
	return absent
}

// removePods removes the pod of an earlier run.
func (d *demo) removePods(ctx context.Context) error {
	pods, err := d.runtime.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.Metadata.Namespace != "demo" {
			continue
		}
		if _, err := d.runtime.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			return err
		}
		if _, err := d.runtime.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) pull(ctx context.Context) error {
	_, err := d.images.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: d.image}})
	return err
}

func (d *demo) podConfig() *criapi.PodSandboxConfig {
	return &criapi.PodSandboxConfig{
		Metadata:     &criapi.PodSandboxMetadata{Name: "web", Namespace: "demo", Uid: "demo-web"},
		Hostname:     "web",
		LogDirectory: filepath.Join(filepath.Dir(d.image), "logs"),
		Linux: &criapi.LinuxPodSandboxConfig{SecurityContext: &criapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER},
		}},
	}
}

func (d *demo) runPod(ctx context.Context) error {
	sandbox, err := d.runtime.RunPodSandbox(ctx, &criapi.RunPodSandboxRequest{Config: d.podConfig()})
	if err != nil {
		return err
	}
	d.pod = sandbox.PodSandboxId
	status, err := d.runtime.PodSandboxStatus(ctx, &criapi.PodSandboxStatusRequest{PodSandboxId: d.pod})
	if err != nil {
		return err
	}
	d.address = status.Status.Network.GetIp()
	return nil
}

func (d *demo) startContainer(ctx context.Context) error {
	created, err := d.runtime.CreateContainer(ctx, &criapi.CreateContainerRequest{
		PodSandboxId: d.pod, SandboxConfig: d.podConfig(),
		Config: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: "web"},
			Image:    &criapi.ImageSpec{Image: d.image},
			LogPath:  "web.log",
			Linux: &criapi.LinuxContainerConfig{SecurityContext: &criapi.LinuxContainerSecurityContext{
				NamespaceOptions: &criapi.NamespaceOption{Pid: criapi.NamespaceMode_CONTAINER},
			}},
		},
	})
	if err != nil {
		return err
	}
	_, err = d.runtime.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: created.ContainerId})
	return err
}

// fetch asks until the server listens, for ten seconds at most.
func (d *demo) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s:%d/", d.address, port)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		body, err := get(ctx, url)
		if err == nil {
			if body != page {
				return fmt.Errorf("%s says %q, want %q", url, body, page)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", url, err)
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// The pod's address is on this machine: no proxy knows it.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return string(body), err
}

func (d *demo) invite() {
	fmt.Printf(`
The pod answers at http://%s:%d/ and the agent serves until Ctrl-C. Try, in another terminal:

  crictl -r unix://%s pods
  crictl -r unix://%s ps
  bin/siflet instance list --pods
  bin/siflet exec instance://web ps
  bin/siflet instance start %s mine && bin/siflet instance list
  bin/siflet instance stop mine

`, d.address, port, socket, socket, d.image)
}

// finish stops the agent, and first removes the pod and the image if clean.
func (d *demo) finish(clean bool) error {
	if d.agent == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	if clean && d.pod != "" {
		_, err := d.runtime.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: d.pod})
		errs = append(errs, err)
		_, err = d.runtime.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: d.pod})
		errs = append(errs, err)
		_, err = d.images.RemoveImage(ctx, &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: d.image}})
		errs = append(errs, err)
	}
	errs = append(errs, d.agent.Process.Signal(syscall.SIGTERM))
	if err := <-d.gone; err != nil {
		errs = append(errs, fmt.Errorf("the agent ended: %w", err))
	}
	if clean {
		for _, dir := range append(d.fresh, filepath.Dir(d.image)) {
			errs = append(errs, os.RemoveAll(dir))
		}
		fmt.Println("removed the pod and its image; the agent has stopped")
	} else {
		fmt.Println("the agent has stopped; the pod runs on. Start the agent again and remove it, or: make run CLEAN=1")
	}
	return errors.Join(errs...)
}

// ask asks a person whether to clean; the end of the input and another Ctrl-C
// are a no.
func ask(in io.Reader) bool {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	fmt.Print("\nRemove the pod and its image? [Y/n] ")
	answered := make(chan bool, 1)
	go func() { // ends with the program, if nobody answers
		answer, err := bufio.NewReader(in).ReadString('\n')
		answered <- err == nil && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "n")
	}()
	select {
	case yes := <-answered:
		return yes
	case <-interrupted:
		fmt.Println()
		return false
	}
}
