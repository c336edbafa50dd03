package supervisor

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siflet/siflet/runtime/program"
)

func sampleRequest() Request {
	cg := program.Cgroup{Join: []string{"/a", "/b"}, Dir: "/d", Procs: "/p", Kill: "/k", OOM: "/o"}
	return Request{
		Op: OpStart, Container: "näme \"\\\n\x01\U0001F600", Signal: 9, All: true, Rows: 24, Cols: 65535,
		Start: &StartRequest{
			Program: json.RawMessage(`{"a":[1,-2.5e3,"x\"}",null,true,{"b":{}}]}`), PID: program.PIDTarget,
			Target: "t", Cgroup: cg, ExitFile: "/e", Log: LogConfig{CRI: "/c", Out: "/out", Err: "/err"},
			Stdin: true, StdinOnce: true, Terminal: true, Hooks: true, Restored: "/pid",
		},
		Exec: &ExecRequest{
			Program: json.RawMessage(`[]`), Cgroup: cg, Terminal: true, Timeout: time.Hour, Keep: true, Action: "/action",
			Stdin: true, Stdout: true, Stderr: true,
		},
		Attach: &AttachRequest{Stdin: true, Stdout: true, Stderr: true},
	}
}

func TestRequestSurvivesTheWire(t *testing.T) {
	want := sampleRequest()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRequest(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request differs (-want +got):\n%s", diff)
	}
}

func TestConfigSurvivesTheWire(t *testing.T) {
	score := -500
	want := Config{
		Version: 1, ID: "id", Dir: "/d", Title: "t", Hostname: "h", Domainname: "n", SharedPID: true,
		SharedMemory: 1 << 40, Loopback: true, Sysctls: map[string]string{"a.b": "1"},
		Cgroup: program.Cgroup{Join: []string{"/j"}}, OOMScoreAdj: &score, EndWithInit: true,
		UIDMap: "0 1 2", GIDMap: "0 3 4", Owned: 1 << 40,
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
}

// An older siflet-instance would run without a user namespace what asks for one.
func TestConfigNamesTheVersionThatItNeeds(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   int
	}{
		{Config{}, 1},
		{Config{SharedPID: true, EndWithInit: true}, 1},
		{Config{UIDMap: "0 1 2"}, 2},
		{Config{GIDMap: "0 1 2"}, 2},
		{Config{Owned: 1}, 2},
	} {
		if got := c.config.lowest(); got != c.want {
			t.Errorf("lowest() of %+v = %d, want %d", c.config, got, c.want)
		}
	}
}

func TestReplySurvivesTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	exit := &Exit{Version: 1, Code: 137, Signal: 9, OOM: true, TimedOut: true, At: at, Message: "a\tb\"\\\x7fé"}
	for _, want := range []Reply{
		{},
		{PID: 7},
		{Exit: exit},
		{Event: &Event{Container: "c", PID: 3, Exit: exit}},
		{Failure: &program.Failure{Step: "s", Reason: "r", Kind: "not_found"}},
		{Status: &Status{Version: 1, ID: "i", PID: 2, InitPID: 3, Containers: []ContainerStatus{
			{ID: "a", PID: 4, StartedAt: at}, {ID: "b", StartedAt: at, Exit: exit},
		}}},
	} {
		b := encodeReply(&want)
		if n, err := frameSize(b); err != nil || n != len(b)-headerSize {
			t.Errorf("frame of %d bytes says %d, %v", len(b), n, err)
		}
		var got Reply
		if err := json.Unmarshal(b[headerSize:], &got); err != nil {
			t.Fatalf("%s: %v", b[headerSize:], err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reply differs (-want +got):\n%s", diff)
		}
	}
}

// FuzzRequest checks that no document harms the decoder, and that it agrees
// with encoding/json about those that it is made for.
func FuzzRequest(f *testing.F) {
	b, err := json.Marshal(sampleRequest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"op":"wait","container":"\ud83d\ude00\ud83dx","rows":70000}`))
	f.Add([]byte(`{"start":{"program":` + `[[[[]]]]` + `},"attach":null,"exec":{}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		_, _ = decodeConfig(doc)
		_, _ = program.DecodeFailure(doc)
		_, _ = decodeRequest(doc)
		var loose, want Request
		if json.Unmarshal(doc, &loose) != nil {
			return
		}
		clean, err := json.Marshal(loose)
		if err != nil {
			return
		}
		if err := json.Unmarshal(clean, &want); err != nil {
			t.Fatal(err)
		}
		got, err := decodeRequest(clean)
		if err != nil {
			t.Fatalf("%s: %v", clean, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", clean, diff)
		}
	})
}

func TestParseStatLooksBehindTheName(t *testing.T) {
	line := []byte("42 (a) R 1 (b)) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2 3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 31")
	got, ok := parseStat(42, line)
	want := stat{pid: 42, parent: 7, session: 9, start: "12345", status: 31}
	if !ok || got != want {
		t.Errorf("parseStat = %+v, %v, want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", ")"} {
		if _, ok := parseStat(42, []byte(bad)); ok {
			t.Errorf("parseStat accepts %q", bad)
		}
	}
}
