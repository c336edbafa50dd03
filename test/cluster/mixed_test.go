package cluster_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/test/registrytest"
	"github.com/siflet/siflet/test/siftest"
)

// mixed has a container of every kind of image, which see each other's files and
// servers.
const mixed = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: mixed}
spec:
  selector: {matchLabels: {app: mixed}}
  template:
    metadata: {labels: {app: mixed}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: shared, emptyDir: {}}]
      containers:
      - name: file
        image: IMAGES/v1.sif
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: shared, mountPath: /shared}]
      - name: artifact
        image: HOST/sif:TAG
        env: [{name: PORT, value: "8081"}]
        readinessProbe: {httpGet: {port: 8081}, periodSeconds: 1}
        volumeMounts: [{name: shared, mountPath: /shared}]
      - name: layers
        image: HOST/app:TAG
        volumeMounts: [{name: shared, mountPath: /shared}]
      - name: ocisif
        image: IMAGES/TAG.oci.sif
        volumeMounts: [{name: shared, mountPath: /shared}]
`

const tells = "wget -q -O /shared/$NAME http://127.0.0.1:$PORT/ && exec sleep 100000"

func TestAPodHasContainersOfEveryKindOfImage(t *testing.T) {
	r := registrytest.Start(t, registrytest.Options{Listen: "192.0.2.1:0"})
	registrytest.Hosts(t, dir+"/hosts", r.Host, "server = \""+r.URL+"\"\n")
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	tag := "t" + hex.EncodeToString(random)
	sif, err := os.ReadFile(images + "/v2.sif")
	must(t, err)
	r.PushSIF(t, "sif:"+tag, "v2.sif", sif)
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err)
	binary := registrytest.File("bin/busybox", string(busybox))
	binary.Mode = 0o755
	r.Push(t, "app:"+tag, registrytest.Image(t, v1.Config{
		Entrypoint: []string{"/bin/busybox", "sh", "-c"}, Cmd: []string{tells}, Env: []string{"NAME=layers", "PORT=8080", "PATH=/bin"},
	}, registrytest.Layer(t, registrytest.None, registrytest.Dir("bin/"), binary, registrytest.Symlink("bin/sh", "busybox"),
		registrytest.Symlink("bin/wget", "busybox"), registrytest.Symlink("bin/sleep", "busybox"))))
	oci, err := os.ReadFile(siftest.BuildOCI(t, siftest.OCIOptions{
		Busybox: true, Layers: []map[string]string{{"etc/kind": "oci-sif\n"}},
		Config: `{"Cmd": ["sh", "-c", "` + tells + `"], "Env": ["NAME=ocisif", "PORT=8081", "PATH=/bin"]}`,
	}))
	must(t, err)
	must(t, os.WriteFile(images+"/"+tag+".oci.sif", oci, 0o644))

	site.apply(t, replace(mixed, "HOST", r.Host, "TAG", tag, "IMAGES", "local.file"+images))
	pods := site.readyPods(t, "mixed", 2)
	for i := range pods {
		name := pods[i].Metadata.Name
		eventually(t, "what the containers of "+name+" tell", func() error {
			text, err := site.try("", "exec", name, "-c", "file", "--", "sh", "-c", "cd /shared; cat layers ocisif")
			if err == nil && text != "v1\nv2\n" {
				err = fmt.Errorf("it is %q", text)
			}
			return err
		})
		if text, err := site.try("", "exec", name, "-c", "ocisif", "--", "cat", "/etc/kind"); err != nil || text != "oci-sif\n" {
			t.Errorf("the OCI-SIF has %q, %v", text, err)
		}
		for _, c := range pods[i].Status.ContainerStatuses {
			if c.RestartCount > 0 && strings.HasPrefix(c.Name, "f") {
				t.Errorf("%+v has been started again", c)
			}
		}
	}
}

// TestAPathIsNoNameForAKubelet is why the tests write local.file.
func TestAPathIsNoNameForAKubelet(t *testing.T) {
	site.apply(t, `
apiVersion: v1
kind: Pod
metadata: {name: path, labels: {app: path}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: "sif://`+images+`/v1.sif"}]}
`)
	eventually(t, "the name to be refused", func() error {
		pods, err := site.pods("path")
		if err == nil && (len(pods) != 1 || !pods[0].waits("c", "InvalidImageName")) {
			err = fmt.Errorf("pods: %+v", pods)
		}
		return err
	})
}
