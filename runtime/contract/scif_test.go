package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/definition"
)

func TestAppsAreKnownInEveryShell(t *testing.T) {
	b := buildOf(t, "Bootstrap: scratch\n%apprun my-app\n#!/bin/bash\nx\n%appenv my-app\nE=1\n%appstart my-app\ns\n%apptest b\nt\n")
	base := fstest.MapFS{appGlobalsPath: file(shebang + "SCIF_APPROOT_base=/scif/apps/base; export SCIF_APPROOT_base\n")}
	list, err := Apps(b.Stage, base)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range list {
		files[f.Path] = f.Content
	}
	if got, want := files["scif/apps/my-app/scif/runscript"], "#!/bin/bash\n\nx\n\n"; got != want {
		t.Errorf("runscript = %q, want %q", got, want)
	}
	for _, name := range []string{"scif/apps/my-app/bin", "scif/apps/b/lib", "scif/data/b/input", "scif/data/my-app/output"} {
		if _, ok := files[name]; !ok {
			t.Errorf("no directory %s", name)
		}
	}
	show := files[appGlobalsPath] + files["scif/apps/my-app/scif/env/01-base.sh"] + "env | grep SCIF | sort\n"
	want := `SCIF_APPBIN_b=/scif/apps/b/bin
SCIF_APPBIN_my_app=/scif/apps/my-app/bin
SCIF_APPDATA=/scif/data/my-app
SCIF_APPDATA_b=/scif/data/b
SCIF_APPDATA_my_app=/scif/data/my-app
SCIF_APPENV_my_app=/scif/apps/my-app/scif/env/90-environment.sh
SCIF_APPINPUT=/scif/data/my-app/input
SCIF_APPLABELS_b=/scif/apps/b/scif/labels.json
SCIF_APPLABELS_my_app=/scif/apps/my-app/scif/labels.json
SCIF_APPLIB_b=/scif/apps/b/lib
SCIF_APPLIB_my_app=/scif/apps/my-app/lib
SCIF_APPMETA=/scif/apps/my-app/scif
SCIF_APPMETA_b=/scif/apps/b/scif
SCIF_APPMETA_my_app=/scif/apps/my-app/scif
SCIF_APPNAME=my-app
SCIF_APPOUTPUT=/scif/data/my-app/output
SCIF_APPROOT=/scif/apps/my-app
SCIF_APPROOT_b=/scif/apps/b
SCIF_APPROOT_base=/scif/apps/base
SCIF_APPROOT_my_app=/scif/apps/my-app
SCIF_APPRUN_my_app=/scif/apps/my-app/scif/runscript
SCIF_APPSTART_my_app=/scif/apps/my-app/scif/startscript
SCIF_DATA=/scif/data
`
	for _, shell := range shells(t) {
		if diff := cmp.Diff(want, interpret(t, shell, []string{"LC_ALL=C"}, show)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", shell[0], diff)
		}
	}
}

// carryOut runs sections one after the other, as a build does, with the image's root at dir.
func carryOut(t *testing.T, dir string, scripts []definition.Section) {
	t.Helper()
	for _, s := range scripts {
		text := strings.NewReplacer("/scif/apps", dir+"/scif/apps", "/.build", dir+"/.build").Replace(s.Body)
		name := filepath.Join(dir, ".post.script")
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		argv := s.Command(name)
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%%%s: %v\n%s\n%s", s.Name, err, out, text)
		} else if strings.Contains(string(out), "SCIF_APPROOT") || strings.Contains(string(out), ".build") {
			t.Errorf("%%%s shows more than the section:\n%s", s.Name, out)
		}
	}
}

func TestAppsAreInstalledInTheirDirectoriesWithWhatPostExports(t *testing.T) {
	for name, args := range map[string]string{"the default shell": "", "another": " -c /bin/bash", "no shell": " -c /usr/bin/env python3"} {
		t.Run(name, func(t *testing.T) {
			post, want := "V='it'\"'\"'s 1'\nexport V\n", "it's 1"
			if name == "no shell" {
				if _, err := exec.LookPath("python3"); err != nil {
					t.Skip("no python3")
				}
				post, want = "print(1)\n", ""
			}
			b := buildOf(t, "Bootstrap: scratch\n%post"+args+"\n"+post+"%appinstall a\nmkdir a\nprintf '%s' \"$V\" > a/v\n%apprun b\nx\n"+
				"%appinstall c\n[ \"$SCIF_APPNAME\" = c ]\ntouch own\n")
			dir, tree := directoryOf(t, nil)
			apps, err := Apps(b.Stage, os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := Place(tree, apps); err != nil {
				t.Fatal(err)
			}
			carryOut(t, dir, Scripts(b.Stage))
			if got, err := os.ReadFile(filepath.Join(dir, "scif/apps/a/a/v")); err != nil || string(got) != want {
				t.Errorf("V in %%appinstall = %q, %v; want %q", got, err, want)
			}
			if _, err := os.Stat(filepath.Join(dir, "scif/apps/c/own")); err != nil {
				t.Error(err)
			}

			// As in Singularity 2, what is installed under the app's name is in scif/ too.
			done, err := b.Finish(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := Place(tree, done.Files); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "scif/apps/a/scif/a/v")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestScriptsOfNothingAreNone(t *testing.T) {
	if got := Scripts(buildOf(t, "Bootstrap: scratch\n%post\n\n%apprun a\nx\n").Stage); len(got) > 0 {
		t.Errorf("Scripts() = %v, want none", got)
	}
}
