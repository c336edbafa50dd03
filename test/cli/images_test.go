package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/siflet/siflet/test/siftest"
)

// makeImages makes the images that scripts use.
func makeImages(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("static busybox (Debian package busybox-static): %w", err)
	}
	for name, o := range map[string]siftest.Options{
		"bb": {
			Busybox: true, Runscript: `echo "run: $*"`, Startscript: `echo "start: $*"; echo "to stderr" >&2; exec sleep 1000`,
			Environment: "export IMAGE_VAR=from-image\nexport BOTH=image\nexport REF=\"${SEEN:-unseen}\"",
		},
		"web": siftest.Web("hello from a SIF\n"),
		"background": {
			Busybox: true, Environment: "export PORT=9000",
			Startscript: "setsid httpd -f -p $PORT -h /etc > /dev/null 2>&1 < /dev/null &",
		},
		"idle": {Busybox: true, Files: map[string]string{"etc/os-release": "ID=idle\n"}},
		"apps": {
			Busybox: true, Startscript: "exec sleep 1000", Apps: map[string]siftest.App{
				"client": {
					Runscript: `if [ -z "${1:-}" ]; then echo "Usage: client <URL>"; exit 1; fi` + "\n" +
						`echo "$1" > "${SINGULARITY_APPDATA}/output/${2:-out}"`,
					Environment: "export CLIENTVAR=1",
				},
				"server": {Startscript: "echo server $SCIF_APPNAME; exec sleep 1000"},
			},
		},
		"said": {
			Busybox: true, Runscript: "echo said", Test: `echo "tested $1"; exit 3`, Help: "how to use it", Definition: "Bootstrap: scratch\n",
			Labels: map[string]string{"Author": "me", "title": "\x1b]0;owned\x07"},
			Apps: map[string]siftest.App{"tool": {
				Runscript: "echo tool", Test: "exit 4", Help: "how to use the tool", Environment: "export TOOL=1", Labels: map[string]string{"K": "V"},
			}},
		},
		// It does what it is told.
		"told": {Busybox: true, Startscript: `exec /bin/sh -c "$1"`},
		"docker": {
			Busybox: true,
			Runscript: `OCI_ENTRYPOINT='"/bin/sh" "-c" "trap \"echo asked; rm /tmp/up-$1; exit 0\" USR1; touch /tmp/up-$1; echo serving $1; while :; do sleep 1000 & wait; done" "docker"'
OCI_CMD='"nothing"'
if [ $# -eq 0 ]; then eval "set -- $OCI_CMD"; fi
eval "set -- $OCI_ENTRYPOINT \"\$@\""
exec "$@"`,
			OCIConfig: `{"StopSignal": "SIGUSR1", "Healthcheck": {"Test": ["CMD-SHELL", "ls /tmp/up-*"], "Interval": 100000000, "Retries": 2}}`,
		},
		"dockershell": {Busybox: true, Runscript: "OCI_ENTRYPOINT=''\nOCI_CMD='\"/bin/sh\"'\nexec /bin/sh \"$@\""},
		"noshell": {
			Runscript: `echo "no shell, $# args: $1"`, Files: map[string]string{"bin/busybox": string(busybox), "bin/cat": "-> busybox"},
			Environment: "export FROM=env-script",
		},
		"fails": {Busybox: true, Runscript: "exit 7", Startscript: "#!/no/such/interpreter"},
	} {
		if err := siftest.Write(context.Background(), filepath.Join(dir, name+".sif"), o); err != nil {
			if errors.Is(err, siftest.ErrNoMksquashfs) || errors.Is(err, siftest.ErrNoBusybox) {
				return fmt.Errorf("the tests need it: %w", err)
			}
			return fmt.Errorf("make %s: %w", name, err)
		}
	}
	return nil
}
