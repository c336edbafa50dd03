package action

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// appVars are the SCIF variables of the active app, besides PATH and
// LD_LIBRARY_PATH.
func appVars(app string) map[string]string {
	root, data := path.Join(appsDir, app), path.Join("/scif/data", app)
	return map[string]string{
		"SCIF_APPNAME":   app,
		"SCIF_APPS":      appsDir,
		"SCIF_APPROOT":   root,
		"SCIF_APPMETA":   root + "/scif",
		"SCIF_DATA":      "/scif/data",
		"SCIF_APPDATA":   data,
		"SCIF_APPINPUT":  data + "/input",
		"SCIF_APPOUTPUT": data + "/output",
	}
}

// found gives a SCIF variable the name that it had in Singularity 2.4, too. Those who mount
// something at /output rely on later versions, in which SINGULARITY_APPDATA is empty
// and $SINGULARITY_APPDATA/output is what they mounted.
func (e *environment) found(env map[string]string, name, value string) {
	if name == "SCIF_APPDATA" && e.tree.mountPoint("/output") {
		return
	}
	env["SINGULARITY_"+strings.TrimPrefix(name, "SCIF_")] = value
}

// checkApp makes sure that the image has the app.
func checkApp(t tree, app string) error {
	if app == "" {
		return nil
	}
	if strings.ContainsAny(app, "/\x00\n") || app == "." || app == ".." || !t.isDir(path.Join(appsDir, app)) {
		return &Error{Message: "Could not locate the container application: " + app, Code: 1, Err: fs.ErrNotExist}
	}
	return nil
}

// activateApp does what 94-appsbase.sh and 95-apps.sh do, for an image without them.
func (e *environment) activateApp(ctx context.Context) error {
	apps, err := e.tree.readDir(appsDir)
	if err != nil {
		return fatalf("%w", err)
	}
	for _, app := range apps {
		for name, value := range globalVars(app.Name()) {
			if err := e.shell.set(ctx, name, value); err != nil {
				return err
			}
		}
	}
	root := path.Join(appsDir, e.req.App)
	searchPath, _ := e.shell.value("PATH")
	searchPath = root + ":" + searchPath
	if e.tree.isDir(root + "/bin") {
		searchPath = root + "/bin:" + searchPath
	}
	if err := e.shell.set(ctx, "PATH", searchPath); err != nil {
		return err
	}
	if e.tree.isDir(root + "/lib") {
		libs, _ := e.shell.value("LD_LIBRARY_PATH")
		if err := e.shell.set(ctx, "LD_LIBRARY_PATH", strings.TrimSuffix(root+"/lib:"+libs, ":")); err != nil {
			return err
		}
	}
	for _, name := range []string{"01-base.sh", "90-environment.sh"} {
		name = path.Join(root, "scif/env", name)
		text, err := e.tree.read(name)
		if err != nil {
			continue // an app need not have either
		}
		if err := e.shell.source(ctx, name, text); err != nil || e.shell.handoff != nil {
			return err
		}
	}
	return nil
}

// globalVars are the variables that every app of an image is known by.
func globalVars(app string) map[string]string {
	for _, c := range app {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return nil // no shell could hold them
		}
	}
	root := path.Join(appsDir, app)
	vars := map[string]string{}
	for name, value := range map[string]string{
		"DATA": path.Join("/scif/data", app), "META": root + "/scif", "ROOT": root, "BIN": root + "/bin", "LIB": root + "/lib",
		"ENV": root + "/scif/env/90-environment.sh", "LABELS": root + "/scif/labels.json",
		"RUN": root + "/scif/runscript", "START": root + "/scif/startscript",
	} {
		vars[fmt.Sprintf("SCIF_APP%s_%s", name, app)] = value
	}
	return vars
}
