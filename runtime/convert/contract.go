package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/sif"
	"github.com/siflet/siflet/runtime/source"
	"github.com/siflet/siflet/runtime/squashfs"
)

// Types of inodes as in inode(7).
const (
	typeMask    = 0o170000
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeLink    = 0o120000
)

// maxDocument is what readers of SIF files take for a document.
const maxDocument = 4 << 20

// Labels that say what a file was made of, as OCI names them.
const (
	labelSource       = "org.opencontainers.image.base.name"
	labelSourceDigest = "org.opencontainers.image.base.digest"
)

const metadataDir = ".singularity.d"

// contract is what Singularity and Apptainer expect to find in an image.
type contract struct {
	definition, labels, environment, runscript string
	labelled                                   map[string]string
	config                                     json.RawMessage
	time                                       time.Time
}

func newContract(image *source.Image, c imageConfig) (*contract, error) {
	bootstrap, from := origin(image.Name)
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, map[string]string{
		"org.label-schema.schema-version":                      "1.0",
		"org.label-schema.build-arch":                          c.Architecture,
		"org.label-schema.usage.singularity.deffile.bootstrap": bootstrap,
		"org.label-schema.usage.singularity.deffile.from":      from,
		labelSource: image.Name,
	})
	if !c.Created.IsZero() {
		labels["org.label-schema.build-date"] = c.Created.Weekday().String() + "_" + c.Created.Format("2_January_2006_15:04:05_MST")
	}
	if image.Manifest != (v1.Hash{}) {
		labels[labelSourceDigest] = image.Manifest.String()
	}
	text, err := json.MarshalIndent(labels, "", "\t")
	if err != nil {
		return nil, err
	}
	return &contract{
		definition: "bootstrap: " + bootstrap + "\nfrom: " + from + "\n\n",
		labels:     string(text), labelled: labels, environment: environment(c.Env), runscript: runscript(c.process),
		config: c.inner, time: c.Created,
	}, nil
}

// origin is the head of the definition file that would build the image.
func origin(name string) (bootstrap, from string) {
	// A definition file is lines; a path may hold anything.
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
	scheme, rest, ok := source.Scheme(name)
	if !ok || scheme == "" {
		return "docker", name
	}
	return scheme, strings.TrimPrefix(rest, "//")
}

// objects are the documents of the SIF file, in the order that Singularity has.
func (c *contract) objects() ([]sif.Object, error) {
	trimmed := func(text string) string { return strings.TrimRight(text, "\n") }
	inspect, err := json.Marshal(map[string]any{
		"data": map[string]any{"attributes": map[string]any{
			"environment": map[string]string{
				"/.singularity.d/env/10-docker2singularity.sh": trimmed(c.environment),
				"/.singularity.d/env/90-environment.sh":        trimmed(envOwn),
			},
			"labels": c.labelled, "runscript": trimmed(c.runscript), "startscript": trimmed(shebang),
			"deffile": trimmed(c.definition),
		}},
		"type": "container",
	})
	if err != nil {
		return nil, err
	}
	if len(inspect) > maxDocument || len(c.config) > maxDocument {
		return nil, errors.New("image config: it is too large: labels, environment and commands of 4 MiB are the most")
	}
	return []sif.Object{
		{Type: sif.TypeDefinition, Data: strings.NewReader(c.definition)},
		{Type: sif.TypeJSON, Name: "inspect-metadata.json", Data: strings.NewReader(string(inspect))},
		{Type: sif.TypeJSON, Name: "oci-config.json", Data: strings.NewReader(string(c.config))},
	}, nil
}

// node is a file, link or directory of the contract.
type node struct{ path, content string }

// add puts the contract over the image's own files. Where those have something
// else they keep it, as far as the runtimes can live with that.
func (c *contract) add(w *squashfs.Writer) error {
	p := &placer{w: w, time: c.time}
	for _, name := range []string{"dev", "proc", "root", "var/tmp", "tmp", "etc", "sys", "home"} {
		p.directory(name)
	}
	for _, name := range []string{"libs", "actions", "env"} {
		p.directory(path.Join(metadataDir, name))
	}
	for _, link := range []node{
		{"singularity", "runscript"},
		{".run", "actions/run"},
		{".exec", "actions/exec"},
		{".test", "actions/test"},
		{".shell", "actions/shell"},
		{"environment", "env/90-environment.sh"},
	} {
		p.link(link.path, path.Join(metadataDir, link.content))
	}
	p.mountPoint("etc/hosts")
	p.mountPoint("etc/resolv.conf")
	for _, file := range []node{
		{"actions/exec", actionExec},
		{"actions/run", actionRun},
		{"actions/shell", actionShell},
		{"actions/start", actionStart},
		{"actions/test", actionTest},
		{"env/01-base.sh", shebang},
		{"env/10-docker2singularity.sh", c.environment},
		{"env/90-environment.sh", envOwn},
		{"env/95-apps.sh", envApps},
		{"env/99-base.sh", envBase},
		{"env/99-runtimevars.sh", envRuntime},
		{"runscript", c.runscript},
		{"startscript", shebang},
	} {
		p.file(path.Join(metadataDir, file.path), file.content, 0o755)
	}
	p.file(path.Join(metadataDir, "labels.json"), c.labels, 0o644)
	p.file(path.Join(metadataDir, "Singularity"), c.definition, 0o644)
	return p.err
}

// placer adds entries until the first error.
type placer struct {
	w    *squashfs.Writer
	time time.Time
	err  error
}

func (p *placer) add(e squashfs.Entry, content string) {
	if p.err != nil {
		return
	}
	e.ModTime, e.Size = p.time, int64(len(content))
	var data io.Reader
	if content != "" {
		data = strings.NewReader(content)
	}
	p.err = p.w.Add(e, data)
}

// kind is the type of the inode at a path, zero if there is none.
func (p *placer) kind(name string) uint32 {
	mode, _, ok := p.w.Mode(name)
	if !ok {
		return 0
	}
	return mode & typeMask
}

// directory makes a directory where there is nothing. It says whether there is
// one then. A link stays, as it may lead to one; but nobody's link stands
// in the way of the metadata.
func (p *placer) directory(name string) bool {
	if dir := path.Dir(name); dir != "." && !p.directory(dir) {
		return false
	}
	kind := p.kind(name)
	if kind == typeDir {
		return true
	}
	if kind != 0 && !strings.HasPrefix(name+"/", metadataDir+"/") {
		return false
	}
	mode := uint32(typeDir | 0o755)
	if path.Base(name) == "tmp" {
		mode = typeDir | 0o1777
	}
	p.add(squashfs.Entry{Path: name, Mode: mode}, "")
	return true
}

// link makes a symbolic link where there is none or another; a file stays.
func (p *placer) link(name, target string) {
	if kind := p.kind(name); kind == 0 || kind == typeLink {
		p.add(squashfs.Entry{Path: name, Mode: typeLink | 0o777, Target: target}, "")
	}
}

// mountPoint makes an empty file for the runtimes to mount theirs over, instead
// of a file or link of that name.
func (p *placer) mountPoint(name string) {
	if p.kind(path.Dir(name)) == typeDir && p.kind(name) != typeDir {
		p.file(name, "", 0o644)
	}
}

func (p *placer) file(name, content string, mode uint32) {
	if p.err == nil && p.kind(name) == typeDir {
		p.err = fmt.Errorf("%w: the image has a directory at /%s, where a file must be", source.ErrUnsupported, name)
	}
	p.add(squashfs.Entry{Path: name, Mode: typeRegular | mode}, content)
}
