package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/definition"
)

// buildOf is the build of a definition file's last stage.
func buildOf(t *testing.T, text string) Build {
	t.Helper()
	d, err := definition.Parse("x.def", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return Build{
		Definition: d, Stage: d.Stages[len(d.Stages)-1], Architecture: "arm64", Version: "1.2",
		Time: time.Date(2026, time.November, 24, 12, 5, 9, 0, time.UTC),
	}
}

// finish is what a build adds to a root file system, by path.
func finish(t *testing.T, b Build, root fstest.MapFS) (map[string]File, Finished) {
	t.Helper()
	done, err := b.Finish(root)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]File{}
	for _, f := range done.Files {
		files[f.Path] = f
	}
	return files, done
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

func TestFinishMakesFilesOfSections(t *testing.T) {
	b := buildOf(t, "Bootstrap: docker\nFrom: a\n%help\nhelp\n%environment\nA=1\n%runscript\nrun\n%startscript -u\nstart\n%test\n#!/bin/bash\ntest\n")
	files, _ := finish(t, b, fstest.MapFS{})
	for name, want := range map[string]File{
		".singularity.d/runscript.help":        {Mode: TypeRegular | 0o644, Content: "help\n\n"},
		".singularity.d/runscript":             {Mode: TypeRegular | 0o755, Content: "#!/bin/sh\n\nrun\n\n"},
		".singularity.d/startscript":           {Mode: TypeRegular | 0o755, Content: "#!/bin/sh -u\n\nstart\n\n"},
		".singularity.d/test":                  {Mode: TypeRegular | 0o755, Content: "#!/bin/bash\n\ntest\n\n"},
		".singularity.d/env/90-environment.sh": {Mode: TypeRegular | 0o755, Content: envOwn + "\nA=1\n\n"},
		".singularity.d/Singularity":           {Mode: TypeRegular | 0o644, Content: b.Definition.Text},
	} {
		want.Path = name
		if diff := cmp.Diff(want, files[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFinishLeavesWhatNoSectionSays(t *testing.T) {
	files, _ := finish(t, buildOf(t, "Bootstrap: docker\nFrom: a\n%startscript\n \n"), fstest.MapFS{})
	if len(files) != 2 {
		t.Errorf("Finish() = %v, want labels and a definition alone", files)
	}
}

func TestFinishKeepsWhatTheBaseSays(t *testing.T) {
	files, _ := finish(t, buildOf(t, "Bootstrap: localimage\nFrom: a.sif\n%environment\nB=2\n"), fstest.MapFS{
		".singularity.d/env/90-environment.sh":        file("#!/bin/sh\nA=1\n"),
		".singularity.d/Singularity":                  file("bootstrap: docker\n"),
		".singularity.d/bootstrap_history/first":      file("x"),
		".singularity.d/bootstrap_history/ApptainerN": file("x"),
	})
	if got, want := files[environmentPath].Content, "#!/bin/sh\nA=1\n\nB=2\n\n"; got != want {
		t.Errorf("environment = %q, want %q", got, want)
	}
	if got, want := files[".singularity.d/bootstrap_history/Singularity2"].Content, "bootstrap: docker\n"; got != want {
		t.Errorf("history = %q, want %q", got, want)
	}
}

func TestLabelsAreThoseOfAllWhoGiveSome(t *testing.T) {
	root := fstest.MapFS{
		LabelsPath: file(`{"base": "1", "defined": "base", "posted": "base", "number": 3,
			"org.label-schema.usage.singularity.deffile.mirrorurl": "http://old", "org.label-schema.build-date": "long ago"}`),
		BuildLabelsPath: file("posted from post\nmore \"quoted\"\n"),
	}
	b := buildOf(t, "Bootstrap: docker\nFrom: a\n%help\nx\n%labels\ndefined by file\nposted by file\n")
	files, _ := finish(t, b, root)
	got, err := ReadLabels(files[LabelsPath].Content)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"base": "1", "defined": "by file", "posted": "from post", "more": `"quoted"`, "number": "3",
		labelSchema: "1.0", labelArch: "arm64", labelDate: "Tuesday_24_November_2026_12:05:09_UTC", labelVersion: "1.2",
		labelDeffile + "bootstrap": "docker", labelDeffile + "from": "a",
		labelUsage: "/.singularity.d/runscript.help", labelHelp: "/.singularity.d/runscript.help",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}

	b.Config = &Config{Process: Process{Labels: map[string]string{"image": "1"}}}
	files, _ = finish(t, b, fstest.MapFS{})
	if got, _ := ReadLabels(files[LabelsPath].Content); got["image"] != "1" {
		t.Errorf("labels = %v, want those of the Docker image", got)
	}

	b.Update = true
	files, _ = finish(t, b, root)
	if got, _ := ReadLabels(files[LabelsPath].Content); got[labelDeffile+"mirrorurl"] != "http://old" || got[labelDeffile+"from"] != "" {
		t.Errorf("labels of an update = %v, want those of the build before", got)
	}
	root[LabelsPath] = file("{")
	if _, err := b.Finish(root); err == nil || !strings.Contains(err.Error(), "the base's labels.json") {
		t.Errorf("Finish() = %v, want an error about the base's labels", err)
	}
}

func TestFinishReadsNothingButFiles(t *testing.T) {
	root := fstest.MapFS{
		LabelsPath:      {Mode: os.ModeSymlink, Data: []byte("../secret")},
		"secret":        file(`{"secret": "1"}`),
		environmentPath: {Mode: os.ModeNamedPipe},
	}
	files, _ := finish(t, buildOf(t, "Bootstrap: docker\nFrom: a\n%environment\nA=1\n"), root)
	if got := files[LabelsPath].Content; strings.Contains(got, "secret") {
		t.Errorf("labels = %s, want nothing of where a link leads", got)
	}
	if got := files[environmentPath].Content; !strings.HasPrefix(got, envOwn) {
		t.Errorf("environment = %q, want a new one", got)
	}
}

func TestIncludeCmdMakesTheBasesCommandPartOfTheStart(t *testing.T) {
	base := &Config{Process: Process{Entrypoint: []string{"printf", "<%s>\\n", "$HOME"}, Cmd: []string{"cmd"}}}
	for _, c := range []struct {
		name, text string
		args       []string
		want       string
	}{
		{"alone", "Includecmd: yes\n", nil, printed("$HOME", "cmd")},
		{"with arguments", "Includecmd: yes\n", []string{"x"}, printed("$HOME", "x")},
		{"after the section", "Includecmd: yes\n%startscript\necho first\n", nil, "first\n" + printed("$HOME", "cmd")},
	} {
		for _, shell := range shells(t) {
			b := buildOf(t, "Bootstrap: docker\nFrom: a\n"+c.text)
			b.Config = base
			files, _ := finish(t, b, fstest.MapFS{})
			if got := interpret(t, shell, nil, files[startscriptPath].Content, c.args...); got != c.want {
				t.Errorf("%s, %s: start = %q, want %q", c.name, shell[0], got, c.want)
			}
		}
	}
}

func TestIncludeCmdNoLeavesTheCommandOut(t *testing.T) {
	b := buildOf(t, "Bootstrap: docker\nFrom: a\nIncludecmd: no\n%startscript\nnginx\n")
	b.Config = &Config{Process: Process{Cmd: []string{"false"}}}
	files, _ := finish(t, b, fstest.MapFS{})
	if got, want := files[startscriptPath].Content, "#!/bin/sh\n\nnginx\n\n"; got != want {
		t.Errorf("startscript = %q, want %q", got, want)
	}
	b.Stage.Startscript = definition.Section{}
	files, _ = finish(t, b, fstest.MapFS{})
	if got, want := files[startscriptPath].Content, "#!/bin/sh\n# Includecmd: no\n"; got != want {
		t.Errorf("startscript = %q, want one that starts nothing: %q", got, want)
	}
}

func TestIncludeCmdSaysWhenItCannot(t *testing.T) {
	b := buildOf(t, "Bootstrap: scratch\nIncludecmd: yes\n")
	_, done := finish(t, b, fstest.MapFS{})
	want := "x.def:2: includecmd: the base has no command (ENTRYPOINT, CMD) to include"
	if len(done.Warnings) != 1 || done.Warnings[0].Error() != want {
		t.Errorf("Warnings = %v, want %s", done.Warnings, want)
	}
	for _, interpreter := range []string{"/usr/bin/python3", "/usr/bin/env python3"} {
		b = buildOf(t, "Bootstrap: docker\nFrom: a\nIncludecmd: yes\n%startscript\n#!"+interpreter+"\n")
		b.Config = &Config{Process: Process{Cmd: []string{"true"}}}
		if _, err := b.Finish(fstest.MapFS{}); err == nil || !strings.HasPrefix(err.Error(), "x.def:4: %startscript: the base's command can't") {
			t.Errorf("Finish() = %v, want a refusal at line 4", err)
		}
	}
}

func TestInspectSaysWhatIsInTheImage(t *testing.T) {
	b := buildOf(t, "Bootstrap: docker\nFrom: a\n%help\nhelp\n%environment\nA=1\n%runscript\nrun\n%test\ntest\n"+
		"%apprun one\nrun\n%appenv one\nE=1\n%applabels one\nl v\n%apphelp one\nh\n")
	apps, err := Apps(b.Stage, fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	done, err := b.Finish(fstest.MapFS{})
	if err != nil {
		t.Fatal(err)
	}
	list := append(append(Base(&Config{Process: Process{Env: []string{"X=y"}}}), apps...), done.Files...)
	list = append(list, Regular(BuildEnvironmentPath, 0o644, "export P=1\n"))

	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Place(NewDir(root), list); err != nil {
		t.Fatal(err)
	}
	got, err := Inspect(root.FS()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromList, err := MetadataOf(list).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(fromList), string(got)); diff != "" {
		t.Errorf("Inspect() (-of the list +of the directory):\n%s", diff)
	}
	golden(t, "inspect.json", got)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, -update to accept):\n%s", name, diff)
	}
}
