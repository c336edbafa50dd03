package linux

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// ForkExec moves descriptors about in the child, over whatever has the number
// above the highest of them.
func TestForkRunsAnOpenFileWhateverTheNumbers(t *testing.T) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	null, err := OpenNull()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for number := range 30 {
		file, err := null.dupFrom(number)
		if err != nil {
			t.Fatal(err)
		}
		pid, pidfd, err := Fork("", &ForkAttr{
			Exe: FD(exe.Fd()), Args: []string{"test", "-test.run=^$"}, Files: []FD{file, null, NoFD, 1},
			PIDNamespace: NoFD,
		})
		if err != nil {
			t.Fatalf("with a file of number %d: %v", file, err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
			t.Errorf("with a file of number %d the program ended with %v, %v", file, status, err)
		}
		if err := pidfd.Close(); err != nil {
			t.Error(err)
		}
		defer file.Close()
	}
}
