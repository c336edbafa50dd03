package squashfs

import (
	"bytes"
	"math"
	"os/exec"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func decoder(tb testing.TB) func(frame []byte) ([]byte, error) {
	tb.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(d.Close)
	return func(frame []byte) ([]byte, error) { return d.DecodeAll(frame, nil) }
}

func TestRepeaterKeepsWhatItCompresses(t *testing.T) {
	z, decode := newRepeater(), decoder(t)
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			frame, ok := z.encode(make([]byte, len(s.data)), s.data, s.repeats)
			switch {
			case !ok && s.most == zstdBlock:
				return
			case ok != (s.most >= 0):
				t.Fatalf("encode() reports %v of %d bytes, want %v", ok, len(frame), !ok)
			case !ok:
				return
			}
			got, err := decode(frame)
			if err != nil || !bytes.Equal(got, s.data) {
				t.Fatalf("%d bytes come back as %d others: %v", len(s.data), len(got), err)
			}
			if len(frame) > s.most || len(frame) >= len(s.data) {
				t.Errorf("%d bytes take %d, want at most %d", len(s.data), len(frame), s.most)
			}
		})
	}
}

// TestRepeaterIsUnderstoodByTheProgram has all frames decoded by the reference.
func TestRepeaterIsUnderstoodByTheProgram(t *testing.T) {
	program, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	z := newRepeater()
	var frames, want []byte
	for _, s := range samples() {
		if frame, ok := z.encode(make([]byte, len(s.data)), s.data, s.repeats); ok {
			frames, want = append(frames, frame...), append(want, s.data...)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "-dcq")
	cmd.Stdin = bytes.NewReader(frames)
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("zstd -dcq gives %d bytes and %v, want %d as they were", len(got), err, len(want))
	}
}

func TestRepeaterLeavesOutWhatDoesNotHold(t *testing.T) {
	m := newMade(11).noise(100, 8).repeat(100, 50)
	m.data = append(m.data, m.data[50:54]...)
	m.noise(6, 8).repeat(200, 7)
	z := newRepeater()
	want, ok := z.encode(make([]byte, len(m.data)), m.data, m.repeats)
	if !ok {
		t.Fatal("410 bytes, 300 of which repeat, don't compress")
	}
	for name, r := range map[string]Repeat{
		"distance of none":          {200, 10, 0},
		"distance before the start": {200, 10, 201},
		"huge distance":             {200, 10, math.MaxUint32},
		"huge length":               {200, math.MaxUint32, 1},
		"length that wraps around":  {200, math.MaxUint32 - 199, 1},
		"huge place":                {math.MaxUint32, 3, 3},
		"place that wraps around":   {math.MaxUint32 - 2, 6, math.MaxUint32 - 2},
		"all that is huge":          {math.MaxUint32, math.MaxUint32, math.MaxUint32},
		"end beyond the end":        {400, 11, 7},
		"place at the end":          {410, 0, 7},
		"place beyond the end":      {411, 0, 7},
		"other bytes":               {200, 10, 20},
		"other bytes at the start":  {200, 10, 200},
		"last byte another":         {200, 5, 150},
		"no length":                 {205, 0, 5},
		"short length":              {205, 2, 1},
		"longer by another byte":    {200, 5, 50},
		"overlap":                   {150, 30, 50},
		"place of nothing before":   {0, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for at := range 2 {
				if at == 0 && r.At >= 100 && r.At < 200 {
					continue // the one before would be what overlaps
				}
				got, _ := z.encode(make([]byte, len(m.data)), m.data, slices.Insert(slices.Clone(m.repeats), at, r))
				if !bytes.Equal(got, want) {
					t.Errorf("%v makes %d bytes of what was %d without", r, len(got), len(want))
				}
			}
		})
	}
}

func TestRepeaterForgets(t *testing.T) {
	used := newRepeater()
	for round := range 2 {
		for _, s := range samples() {
			want, compressed := newRepeater().encode(make([]byte, len(s.data)), s.data, s.repeats)
			got, ok := used.encode(make([]byte, len(s.data)), s.data, s.repeats)
			if ok != compressed || !bytes.Equal(got, want) {
				t.Errorf("%s becomes other bytes after other data, in round %d", s.name, round)
			}
		}
	}
}

func TestRepeaterStaysInItsRoom(t *testing.T) {
	z := newRepeater()
	s := slots()
	frame, ok := z.encode(make([]byte, len(s.data)), s.data, s.repeats)
	if !ok {
		t.Fatal("it doesn't compress")
	}
	for _, room := range []int{0, 1, 20, len(frame) - 1, len(frame), len(frame) + 1} {
		buf := bytes.Repeat([]byte{0xaa}, len(s.data))
		got, ok := z.encode(buf[:0:room], s.data, s.repeats)
		if want := room >= len(frame); ok != want {
			t.Errorf("encode() into %d bytes reports %v, want %v", room, ok, want)
		}
		if ok && &got[0] != &buf[0] {
			t.Errorf("encode() into %d bytes returns others", room)
		}
		if tail := buf[room:]; bytes.Count(tail, []byte{0xaa}) != len(tail) {
			t.Errorf("encode() into %d bytes writes beyond", room)
		}
	}
	_ = z.collect(s.data, s.repeats)
	for _, limit := range []int{0, 200, 300, 400, 1000} {
		if _, ok := z.appendSequences(z.out[:0:limit+zstdHeaders], limit); ok {
			t.Errorf("appendSequences() makes at most %d bytes of %d", limit, len(frame))
		}
	}
	if _, ok := z.encode(make([]byte, zstdBlock+1), make([]byte, zstdBlock+1), nil); ok {
		t.Error("encode() makes a block of more than 128 KiB")
	}
}

func TestRepeaterAllocatesNothing(t *testing.T) {
	z, list, dst := newRepeater(), samples(), make([]byte, zstdBlock)
	all := func() {
		for _, s := range list {
			_, _ = z.encode(dst, s.data, s.repeats)
		}
	}
	all()
	if n := testing.AllocsPerRun(3, all); n > 0 {
		t.Errorf("%v allocations per %d blocks, want none", n, len(list))
	}
}
