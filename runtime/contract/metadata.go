package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxDocument is what readers of SIF files take for a document.
const maxDocument = 4 << 20

// Metadata is what an image says of itself, as "inspect" shows it and a SIF file
// has it in inspect-metadata.json.
type Metadata struct {
	Data struct {
		Attributes Attributes `json:"attributes"`
	} `json:"data"`
	Type string `json:"type"`
}

// Attributes are an image's or an app's.
type Attributes struct {
	Apps        map[string]*Attributes `json:"apps,omitempty"`
	Environment map[string]string      `json:"environment,omitempty"`
	Labels      map[string]string      `json:"labels,omitempty"`
	Runscript   string                 `json:"runscript,omitempty"`
	Test        string                 `json:"test,omitempty"`
	Helpfile    string                 `json:"helpfile,omitempty"`
	Deffile     string                 `json:"deffile,omitempty"`
	Startscript string                 `json:"startscript,omitempty"`
}

// JSON is the metadata as in a SIF file, the same for the same image.
func (m Metadata) JSON() ([]byte, error) {
	text, err := json.Marshal(m)
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("the image's scripts, labels and environment are larger than %d bytes together", maxDocument)
	}
	return text, err
}

// MetadataOf is the metadata of an image that consists of files.
func MetadataOf(list []File) Metadata {
	return inspect(content{
		read: func(name string) (string, bool) {
			for _, f := range slices.Backward(list) {
				if f.Path == name && f.Mode&TypeMask == TypeRegular {
					return f.Content, true
				}
			}
			return "", false
		},
		names: func(dir string) []string {
			found := map[string]bool{}
			for _, f := range list {
				if rest, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
					name, _, _ := strings.Cut(rest, "/")
					found[name] = true
				}
			}
			return sorted(found)
		},
	})
}

// Inspect is the metadata of the image with this root file system. What can't be read
// is left out.
func Inspect(root fs.FS) Metadata {
	return inspect(content{
		read: func(name string) (string, bool) {
			text, err := read(root, name)
			return text, err == nil
		},
		names: func(dir string) []string {
			entries, err := fs.ReadDir(root, dir)
			if err != nil {
				return nil
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		},
	})
}

// read reads a file of the image, which must be one: to open anything else may have effects.
func read(root fs.FS, name string) (string, error) {
	info, err := fs.Lstat(root, name)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("/%s: %w: it is no file", name, fs.ErrNotExist)
	case info.Size() > maxDocument:
		return "", fmt.Errorf("/%s: it is larger than %d bytes", name, maxDocument)
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDocument))
	return string(text), errors.Join(err, f.Close())
}

// content is how to look into an image.
type content struct {
	read  func(name string) (string, bool)
	names func(dir string) []string
}

func inspect(c content) Metadata {
	m := Metadata{Type: "container"}
	m.Data.Attributes = c.attributes(metadataDir)
	m.Data.Attributes.Deffile = c.text(DefinitionPath)
	for _, name := range c.names(appsDir) {
		a := c.attributes(path.Join(appsDir, name, "scif"))
		if len(c.names(path.Join(appsDir, name, "scif"))) == 0 {
			continue
		}
		if m.Data.Attributes.Apps == nil {
			m.Data.Attributes.Apps = map[string]*Attributes{}
		}
		m.Data.Attributes.Apps[name] = &a
	}
	return m
}

// attributes are those in a directory of metadata.
func (c content) attributes(dir string) Attributes {
	a := Attributes{
		Runscript: c.text(dir + "/runscript"), Startscript: c.text(dir + "/startscript"),
		Test: c.text(dir + "/test"), Helpfile: c.text(dir + "/runscript.help"),
	}
	if text, ok := c.read(dir + "/labels.json"); ok {
		a.Labels, _ = ReadLabels(text)
	}
	for _, name := range c.names(dir + "/env") {
		ofDocker, _ := path.Match("10-docker*.sh", name)
		own, _ := path.Match("9*-environment.sh", name)
		text, ok := c.read(path.Join(dir, "env", name))
		if !ok || !ofDocker && !own {
			continue
		}
		if a.Environment == nil {
			a.Environment = map[string]string{}
		}
		a.Environment["/"+path.Join(dir, "env", name)] = strings.TrimRight(text, "\n")
	}
	return a
}

// text is a file as it is shown.
func (c content) text(name string) string {
	text, _ := c.read(name)
	return strings.TrimRight(text, "\n")
}

func sorted(names map[string]bool) []string {
	var list []string
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
