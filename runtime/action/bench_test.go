package action

import "testing"

func BenchmarkResolve(b *testing.B) {
	req := Request{Command: "exec", Args: []string{"/bin/true"}, Host: []string{"TERM=x", "HOME=/root"}}
	for b.Loop() {
		if _, err := Resolve(b.Context(), req, "/tmp/action/svc"); err != nil {
			b.Fatal(err)
		}
	}
}
