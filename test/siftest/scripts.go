package siftest

const envBase = `#!/bin/sh
if [ -z "$LD_LIBRARY_PATH" ]; then
    LD_LIBRARY_PATH="/.singularity.d/libs"
else
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:/.singularity.d/libs"
fi
PS1="Singularity> "
export LD_LIBRARY_PATH PS1
`

const envRuntime = `#!/bin/sh
PATH="${SING_USER_DEFINED_PREPEND_PATH:+$SING_USER_DEFINED_PREPEND_PATH:}$PATH"
PATH="$PATH${SING_USER_DEFINED_APPEND_PATH:+:$SING_USER_DEFINED_APPEND_PATH}"
PATH="${SING_USER_DEFINED_PATH:-$PATH}"
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH
export PATH
`

// envApps makes the chosen SCIF app the active one.
const envApps = `#!/bin/sh
if [ -n "${SINGULARITY_APPNAME:-}" ]; then
    export SINGULARITY_APPNAME
    if [ ! -d "/scif/apps/$SINGULARITY_APPNAME/" ]; then
        echo "Could not locate the container application: $SINGULARITY_APPNAME"
        exit 1
    fi
    SCIF_APPS="/scif/apps"
    SCIF_APPROOT="/scif/apps/$SINGULARITY_APPNAME"
    PATH="$SCIF_APPROOT/bin:$SCIF_APPROOT:$PATH"
    LD_LIBRARY_PATH="$SCIF_APPROOT/lib:$LD_LIBRARY_PATH"
    export SCIF_APPS SCIF_APPROOT PATH LD_LIBRARY_PATH
    for script in 01-base 90-environment; do
        if [ -f "/scif/apps/$SINGULARITY_APPNAME/scif/env/$script.sh" ]; then
            . "/scif/apps/$SINGULARITY_APPNAME/scif/env/$script.sh"
        fi
    done
fi
`

// envApp has the app's name in place of each @.
const envApp = `#!/bin/sh
export SCIF_APPNAME=@
export SCIF_APPROOT="/scif/apps/@"
export SCIF_APPMETA="/scif/apps/@/scif"
export SCIF_DATA="/scif/data"
export SCIF_APPDATA="/scif/data/@"
export SCIF_APPINPUT="/scif/data/@/input"
export SCIF_APPOUTPUT="/scif/data/@/output"
`

// actionScript is what the image runs by itself; Singularity ignores it.
func actionScript(action string) string {
	target := map[string]string{
		"exec": "", "shell": "/bin/sh ", "run": "/.singularity.d/runscript ",
		"start": "/.singularity.d/startscript ", "test": "/.singularity.d/test ",
	}[action]
	return "#!/bin/sh\nfor script in /.singularity.d/env/*.sh; do . \"$script\"; done\nexec " + target + "\"$@\"\n"
}
