package cgroups

import "testing"

func TestUserManagerIsFoundInAGroup(t *testing.T) {
	for group, want := range map[string]string{
		"/user.slice/user-7.slice/user@7.service/app.slice/a.scope": "/user.slice/user-7.slice/user@7.service",
		"/user.slice/user-7.slice/user@7.service":                   "/user.slice/user-7.slice/user@7.service",
		"/user.slice/user-7.slice/session-1.scope":                  "",
		"/slurmstepd.scope/job_1/step_0/user/task_0":                "",
		"/user.slice/user-7.slice/user@7.service.d/x":               "",
		"/": "",
	} {
		if got := userManager(group); got != want {
			t.Errorf("userManager(%s) = %q, want %q", group, got, want)
		}
	}
}
