// Package contract is what Singularity and Apptainer expect of an image: the files
// in /.singularity.d and around it, those of SCIF apps, labels, and the metadata that
// a SIF file repeats. It decides what is to be in an image; whoever makes the image
// puts it there through a Tree.
//
// It writes nothing but through a Dir, which never leaves its directory.
package contract

import "path"

// Types of inodes as in inode(7).
const (
	TypeMask    = 0o170000
	TypeDir     = 0o040000
	TypeRegular = 0o100000
	TypeLink    = 0o120000
)

const (
	metadataDir = ".singularity.d"
	envDir      = metadataDir + "/env"
	historyDir  = metadataDir + "/bootstrap_history"
	appsDir     = "scif/apps"
	dataDir     = "scif/data"
)

// Paths that a build has to know, relative to the root.
const (
	LabelsPath     = metadataDir + "/labels.json"
	DefinitionPath = metadataDir + "/Singularity"
	// BuildEnvironmentPath is the file that %post finds in SINGULARITY_ENVIRONMENT: what
	// it exports is in every container's environment.
	BuildEnvironmentPath = envDir + "/91-environment.sh"
	// BuildLabelsPath is the file that %post finds in SINGULARITY_LABELS. It is read by
	// Finish, and has no place in the image.
	BuildLabelsPath = ".build.labels"

	environmentPath = envDir + "/90-environment.sh"
	appGlobalsPath  = envDir + "/94-appsbase.sh"
	dockerEnvPath   = envDir + "/10-docker2singularity.sh"
	runscriptPath   = metadataDir + "/runscript"
	startscriptPath = metadataDir + "/startscript"
	testPath        = metadataDir + "/test"
	helpPath        = metadataDir + "/runscript.help"
)

// File is a file, directory or symbolic link to be in an image.
type File struct {
	// Path is relative to the root.
	Path string
	// Mode is type and permissions as in inode(7).
	Mode uint32
	// Content is that of a file, or what a link says.
	Content string
	// Keep leaves what is there already.
	Keep bool
	// MountPoint says that the file is there for another to be mounted on: it is
	// left out where it can't be.
	MountPoint bool
}

// Regular is a file.
func Regular(name string, permissions uint32, content string) File {
	return File{Path: name, Mode: TypeRegular | permissions, Content: content}
}

// Directory is a directory.
func Directory(name string) File {
	if path.Base(name) == "tmp" {
		return File{Path: name, Mode: TypeDir | 0o1777}
	}
	return File{Path: name, Mode: TypeDir | 0o755}
}

// Link is a symbolic link.
func Link(name, target string) File { return File{Path: name, Mode: TypeLink | 0o777, Content: target} }

// Base is what every image has before anything of its own: the directories that
// things are mounted on, actions, the environment, a runscript. c is the config of
// the Docker or OCI image that it is made of, or nil.
func Base(c *Config) []File {
	var list []File
	for _, name := range []string{"dev", "proc", "root", "var/tmp", "tmp", "etc", "sys", "home"} {
		list = append(list, Directory(name))
	}
	for _, name := range []string{"libs", "actions", "env"} {
		list = append(list, Directory(path.Join(metadataDir, name)))
	}
	list = append(list,
		Link("singularity", runscriptPath),
		Link(".run", metadataDir+"/actions/run"),
		Link(".exec", metadataDir+"/actions/exec"),
		Link(".test", metadataDir+"/actions/test"),
		Link(".shell", metadataDir+"/actions/shell"),
		Link("environment", environmentPath),
	)
	for _, name := range []string{"etc/hosts", "etc/resolv.conf"} {
		f := Regular(name, 0o644, "")
		f.MountPoint = true
		list = append(list, f)
	}
	list = append(list,
		script("actions/exec", actionExec),
		script("actions/run", actionRun),
		script("actions/shell", actionShell),
		script("actions/start", actionStart),
		script("actions/test", actionTest),
		script("env/01-base.sh", shebang),
	)
	run := noRunscript
	if c != nil {
		list = append(list, Regular(dockerEnvPath, 0o755, environment(c.Env)))
		run = runscript(c.Process)
	}
	// An image that was a SIF file once has one that says something.
	own := script("env/90-environment.sh", envOwn)
	own.Keep = true
	return append(list,
		own,
		script("env/95-apps.sh", envApps),
		script("env/99-base.sh", envBase),
		script("env/99-runtimevars.sh", envRuntime),
		script("runscript", run),
		script("startscript", shebang),
	)
}

// Missing are the files as they are to be added to an image that may have its own:
// those stay.
func Missing(list []File) []File {
	kept := make([]File, len(list))
	for i, f := range list {
		f.Keep = true
		kept[i] = f
	}
	return kept
}

func script(name, text string) File { return Regular(path.Join(metadataDir, name), 0o755, text) }
