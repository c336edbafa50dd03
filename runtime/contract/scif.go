package contract

import (
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/siflet/siflet/runtime/definition"
)

// Apps are the files of a stage's SCIF apps, as they are before %post and %appinstall.
// Those of the base, whose root file system is root, stay known.
func Apps(stage definition.Stage, root fs.FS) ([]File, error) {
	if len(stage.Apps) == 0 {
		return nil, nil
	}
	global, err := optional(root, appGlobalsPath)
	if err != nil {
		return nil, err
	}
	if global == "" {
		global = shebang
	}
	var list []File
	for _, app := range stage.Apps {
		list = append(list, appFiles(app)...)
		if text := appGlobals(app); !strings.Contains(global, text) {
			global += text
		}
	}
	return append(list, Regular(appGlobalsPath, 0o755, global)), nil
}

// AppRoot is an app's directory, relative to the root: where its files go.
func AppRoot(app string) string { return path.Join(appsDir, app) }

func appFiles(app definition.App) []File {
	root, meta, data := AppRoot(app.Name), path.Join(AppRoot(app.Name), "scif"), path.Join(dataDir, app.Name)
	list := []File{
		Directory(root + "/bin"), Directory(root + "/lib"), Directory(meta + "/env"),
		Directory(data + "/input"), Directory(data + "/output"),
		Regular(meta+"/env/01-base.sh", 0o755, appBase(app.Name)),
	}
	add := func(name string, s definition.Section, text string) {
		if !s.Empty() {
			list = append(list, Regular(path.Join(meta, name), 0o755, text))
		}
	}
	add("env/90-environment.sh", app.Environment, app.Environment.Body)
	add("runscript", app.Run, app.Run.Script())
	add("startscript", app.Start, app.Start.Script())
	add("test", app.Test, app.Test.Script())
	if !app.Help.Empty() {
		list = append(list, Regular(meta+"/runscript.help", 0o644, app.Help.Body))
	}
	labels := map[string]string{"SCIF_APP_NAME": app.Name}
	for _, l := range app.Labels {
		labels[l.Name] = l.Value
	}
	text, _ := json.MarshalIndent(labels, "", "\t") // texts can be nothing but JSON
	return append(list, Regular(meta+"/labels.json", 0o644, string(text)))
}

// appBase says who the active app is. An app's name needs no quotes.
func appBase(name string) string {
	return strings.ReplaceAll(shebang+`SCIF_APPNAME=@
SCIF_APPROOT=/scif/apps/@
SCIF_APPMETA=/scif/apps/@/scif
SCIF_DATA=/scif/data
SCIF_APPDATA=/scif/data/@
SCIF_APPINPUT=/scif/data/@/input
SCIF_APPOUTPUT=/scif/data/@/output
export SCIF_APPNAME SCIF_APPROOT SCIF_APPMETA SCIF_DATA SCIF_APPDATA SCIF_APPINPUT SCIF_APPOUTPUT
`, "@", name)
}

// appGlobals are the variables that an app is known by when another is active.
func appGlobals(app definition.App) string {
	// What no shell takes in a name becomes an underscore.
	variable := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, app.Name)
	root := "/" + AppRoot(app.Name)
	var text strings.Builder
	for _, v := range []struct{ name, value string }{
		{"DATA", "/" + path.Join(dataDir, app.Name)},
		{"META", root + "/scif"},
		{"ROOT", root},
		{"BIN", root + "/bin"},
		{"LIB", root + "/lib"},
		{"LABELS", root + "/scif/labels.json"},
		{"ENV", given(app.Environment, root+"/scif/env/90-environment.sh")},
		{"RUN", given(app.Run, root+"/scif/runscript")},
		{"START", given(app.Start, root+"/scif/startscript")},
	} {
		if v.value != "" {
			name := "SCIF_APP" + v.name + "_" + variable
			text.WriteString(name + "=" + v.value + "; export " + name + "\n")
		}
	}
	return text.String()
}

// given is a value if there is a section for it.
func given(s definition.Section, value string) string {
	if s.Empty() {
		return ""
	}
	return value
}

// handOver is where %post leaves its environment for the apps' scripts.
const handOver = ".build.exports"

// BuildFiles are the files that are in the root directory of an image during a build only.
func BuildFiles() []string { return []string{BuildLabelsPath, handOver} }

// Scripts are what runs in the image, in this order: %post, and the %appinstall of each
// app. As in Singularity, where they are one script, those of apps are run as %post
// is, and have what it exports; each begins in the app's directory.
func Scripts(stage definition.Stage) []definition.Section {
	post := stage.Post
	var args []string
	if at := slices.Index(post.Args, "-c"); at < 0 || isShell(post.Args[at+1:]) {
		args = post.Args
	}
	exports := !post.Empty() && slices.Equal(args, post.Args)
	var scripts []definition.Section
	for _, app := range stage.Apps {
		if app.Install.Empty() {
			continue
		}
		s, root := app.Install, "/"+AppRoot(app.Name)
		before := ". " + root + "/scif/env/01-base.sh; "
		if exports {
			before = "[ ! -f /" + handOver + " ] || . /" + handOver + "; " + before
		}
		// What is not the section's is not to be seen.
		s.Args, s.Body = args, "{ "+before+"} 2>/dev/null\ncd "+root+"\n"+s.Body
		scripts = append(scripts, s)
	}
	if post.Empty() {
		return scripts
	}
	if exports && len(scripts) > 0 {
		post.Body += "\n{ export -p > /" + handOver + "; } 2>/dev/null\n"
	}
	return append([]definition.Section{post}, scripts...)
}

// appLinks makes what an app installed under its own name be found beside its metadata,
// where definition files of Singularity 2 look for it.
func (b Build) appLinks(root fs.FS, f *Finished) error {
	for _, app := range b.Stage.Apps {
		meta := path.Join(AppRoot(app.Name), "scif", app.Name)
		if _, err := fs.Lstat(root, path.Join(AppRoot(app.Name), app.Name)); err != nil {
			continue
		}
		if _, err := fs.Lstat(root, meta); err == nil {
			continue
		}
		f.add(Link(meta, "../"+app.Name))
	}
	return nil
}
