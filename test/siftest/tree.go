package siftest

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Options says what an image holds. The zero value is an image with nothing but
// the directories and the metadata every image has.
type Options struct {
	// Root is a directory to start from; its files are copied.
	Root string
	// Busybox adds /bin/busybox with all its applets, /etc/passwd and
	// /etc/group: root, daemon (1), www-data (33), user (1000, also in group
	// extra, 2000) and nobody.
	Busybox bool
	// Files are added last, by path in the image. What starts with "#!" or is
	// an ELF file becomes executable; a path that ends in "/" is a directory;
	// content that starts with "-> " makes a symbolic link.
	Files map[string]string
	// Runscript, Startscript and Test are shell text; a first line that starts
	// with "#!" is kept, otherwise /bin/sh runs them. Startscript stays a bare
	// "#!/bin/sh" when empty.
	Runscript, Startscript, Test string
	// Environment is appended to 90-environment.sh: shell text such as
	// "export PORT=80".
	Environment string
	// Help, Labels and Definition are metadata.
	Help       string
	Labels     map[string]string
	Definition string
	// Apps are SCIF apps by name.
	Apps map[string]App
	// OCIConfig is the text of oci-config.json, the image config's inner object.
	OCIConfig string
	// Bare leaves out /.singularity.d and its links.
	Bare bool
	// Arch is a GOARCH name; empty means this machine's.
	Arch string
}

// App is a SCIF app.
type App struct {
	Runscript, Startscript, Test, Environment, Help string
	Labels                                          map[string]string
}

// WriteTree makes the root file system that o describes in dir, which must be
// an empty directory or not exist.
func WriteTree(dir string, o Options) error {
	if o.Root != "" {
		if err := os.CopyFS(dir, os.DirFS(o.Root)); err != nil {
			return err
		}
	}
	files := map[string]string{
		"dev/": "", "proc/": "", "root/": "", "sys/": "", "home/": "", "etc/hosts": "", "etc/resolv.conf": "",
	}
	if !o.Bare {
		maps.Copy(files, metadata(o))
	}
	if o.Busybox {
		extra, err := busybox()
		if err != nil {
			return err
		}
		maps.Copy(files, extra)
	}
	for name, text := range o.Files {
		files[strings.TrimPrefix(name, "/")] = text
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := add(dir, name, files[name]); err != nil {
			return err
		}
	}
	for _, name := range []string{"tmp", "var/tmp"} {
		full := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(full, 0o755), os.Chmod(full, os.ModeSticky|0o777)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o755)
}

func add(dir, name, text string) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q is not a path in the image", name)
	}
	full := filepath.Join(dir, name)
	if strings.HasSuffix(name, "/") {
		return os.MkdirAll(full, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	// A file copied from Root may be a link that points anywhere.
	if err := os.RemoveAll(full); err != nil {
		return err
	}
	if target, ok := strings.CutPrefix(text, "-> "); ok {
		return os.Symlink(target, full)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") || strings.HasPrefix(text, "\x7fELF") {
		mode = 0o755
	}
	return errors.Join(os.WriteFile(full, []byte(text), mode), os.Chmod(full, mode))
}

// busybox is the machine's static busybox, a link for each applet, and users.
func busybox() (map[string]string, error) {
	bin, err := findBusybox()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	list, err := exec.Command(bin, "--list").Output() //nolint:noctx // it prints a table and ends
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", bin, err)
	}
	files := map[string]string{
		"bin/busybox": string(text),
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n" +
			"www-data:x:33:33:www-data:/var/www:/bin/false\nuser:x:1000:1000:user:/home/user:/bin/sh\n" +
			"nobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":  "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nuser:x:1000:\nextra:x:2000:user\nnobody:x:65534:\n",
		"home/user/": "",
		"usr/bin/":   "",
		"usr/sbin/":  "",
		"sbin/":      "",
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" && !strings.Contains(applet, "/") {
			files["bin/"+applet] = "-> busybox"
		}
	}
	return files, nil
}

func findBusybox() (string, error) {
	for _, bin := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		f, err := elf.Open(bin)
		if err != nil {
			continue
		}
		dynamic := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		_ = f.Close()
		if !dynamic {
			return bin, nil
		}
	}
	return "", ErrNoBusybox
}

// ErrNoBusybox says that there is no static busybox on this machine.
var ErrNoBusybox = errors.New("no static busybox in /bin or /usr/bin (Debian package busybox-static)")

// metadata is /.singularity.d and the links to it.
func metadata(o Options) map[string]string {
	files := map[string]string{
		"singularity": "-> .singularity.d/runscript",
		"environment": "-> .singularity.d/env/90-environment.sh",
		".run":        "-> .singularity.d/actions/run",
		".exec":       "-> .singularity.d/actions/exec",
		".test":       "-> .singularity.d/actions/test",
		".shell":      "-> .singularity.d/actions/shell",

		".singularity.d/libs/":              "",
		".singularity.d/Singularity":        o.Definition,
		".singularity.d/labels.json":        asJSON(o.Labels) + "\n",
		".singularity.d/runscript":          script(o.Runscript),
		".singularity.d/startscript":        script(o.Startscript),
		".singularity.d/test":               script(o.Test),
		".singularity.d/env/01-base.sh":     "#!/bin/sh\n",
		".singularity.d/env/99-base.sh":     envBase,
		".singularity.d/env/94-appsbase.sh": "#!/bin/sh\n",
		".singularity.d/env/95-apps.sh":     envApps,
		".singularity.d/env/90-environment.sh": "#!/bin/sh\n# Custom environment shell code should follow\n\n" +
			o.Environment + "\n",
		".singularity.d/env/10-docker2singularity.sh": "#!/bin/sh\n" +
			`export PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"` + "\n",
		".singularity.d/env/99-runtimevars.sh": envRuntime,
	}
	if o.Help != "" {
		files[".singularity.d/runscript.help"] = o.Help
	}
	for _, action := range []string{"exec", "run", "shell", "start", "test"} {
		files[path.Join(".singularity.d/actions", action)] = actionScript(action)
	}
	for name, app := range o.Apps {
		addApp(files, name, app)
	}
	return files
}

func addApp(files map[string]string, name string, a App) {
	root, data := "scif/apps/"+name, "scif/data/"+name
	for _, dir := range []string{root + "/bin/", root + "/lib/", data + "/input/", data + "/output/"} {
		files[dir] = ""
	}
	labels := map[string]string{"SCIF_APP_NAME": name}
	maps.Copy(labels, a.Labels)
	files[root+"/scif/labels.json"] = asJSON(labels)
	files[root+"/scif/env/01-base.sh"] = strings.ReplaceAll(envApp, "@", name)
	global := &strings.Builder{}
	for _, kv := range [][2]string{
		{"DATA", data},
		{"META", root + "/scif"},
		{"ROOT", root},
		{"BIN", root + "/bin"},
		{"LIB", root + "/lib"},
		{"LABELS", root + "/scif/labels.json"},
	} {
		fmt.Fprintf(global, "export SCIF_APP%s_%s=\"/%s\"\n", kv[0], name, kv[1])
	}
	for _, f := range []struct{ variable, file, text string }{
		{"ENV", "env/90-environment.sh", a.Environment},
		{"RUN", "runscript", shebang(a.Runscript)},
		{"START", "startscript", shebang(a.Startscript)},
		{"TEST", "test", shebang(a.Test)},
		{"HELP", "runscript.help", a.Help},
	} {
		if f.text == "" {
			continue
		}
		files[root+"/scif/"+f.file] = f.text
		fmt.Fprintf(global, "export SCIF_APP%s_%s=\"/%s/scif/%s\"\n", f.variable, name, root, f.file)
	}
	files[".singularity.d/env/94-appsbase.sh"] += global.String()
}

// script is a section as Singularity stores it, a bare shebang when empty.
func script(body string) string {
	if body == "" {
		return "#!/bin/sh\n"
	}
	return shebang(body)
}

func shebang(body string) string {
	if body == "" || strings.HasPrefix(body, "#!") {
		return body
	}
	return "#!/bin/sh\n\n" + body + "\n"
}

func asJSON(v map[string]string) string {
	if len(v) == 0 {
		return "{}"
	}
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return "{}"
	}
	return string(text)
}
