package plan

import (
	"strings"
	"testing"
)

func TestProfilesOfAWrongTypeAreToldByTheirFields(t *testing.T) {
	for text, want := range map[string]string{
		`7`:                                     "the profile, at byte 1: want an object, not number",
		`{"defaultAction": 7}`:                  "defaultAction, at byte 19: want a string, not number",
		`{"syscalls": {}}`:                      "syscalls, at byte 14: want a list, not object",
		`{"syscalls": [{"names": "x"}]}`:        "syscalls.names, at byte 27: want a list, not string",
		`{"syscalls": [{"errnoRet": "EPERM"}]}`: "want a number that fits, not string",
		`{"defaultErrnoRet": -1}`:               "defaultErrnoRet, at byte 22: want a number that fits, not number -1",
		`{"archMap": [{"architecture": []}]}`:   "archMap.architecture, at byte",
	} {
		_, err := ParseProfile([]byte(text), Kernel{Arch: "amd64", Major: 6}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("ParseProfile(%s) = %v, want %q", text, err, want)
		}
	}
}
