package squashfs

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// FuzzRepeater makes data and repeats of instructions, five bytes each: what to do,
// and two numbers of 16 bits.
func FuzzRepeater(f *testing.F) {
	for _, s := range samples() {
		f.Add(append(instructions(s), 6, 0, 0, 0, 0, 7, 9, 0, 3, 0, 8, 1, 2, 3, 4), 0)
	}
	z, decode := newRepeater(), decoder(f)
	f.Fuzz(func(t *testing.T, program []byte, room int) {
		data, repeats := execute(program)
		dst := make([]byte, len(data))
		if 0 < room && room < len(data) {
			dst = dst[:room:room]
		}
		frame, ok := z.encode(dst, data, repeats)
		want, compressed := newRepeater().encode(dst, data, repeats)
		if ok != compressed || !bytes.Equal(frame, want) {
			t.Fatal("the result depends on what was compressed before")
		}
		if !ok {
			return
		}
		if len(frame) >= len(data) || len(frame) > len(dst) {
			t.Fatalf("%d bytes take %d of %d", len(data), len(frame), len(dst))
		}
		got, err := decode(frame)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes come back as %d others: %v", len(data), len(got), err)
		}
	})
}

// execute returns what the instructions make, of at most 128 KiB.
func execute(program []byte) (data []byte, repeats []Repeat) {
	for ; len(program) >= 5; program = program[5:] {
		a, b := binary.LittleEndian.Uint16(program[1:]), binary.LittleEndian.Uint16(program[3:])
		at := uint32(len(data))
		n := min(int(a), zstdBlock-len(data))
		switch program[0] % 9 {
		case 0, 1: // four literals
			data = append(data, program[1:5][:min(4, zstdBlock-len(data))]...)
		case 2, 3, 4: // a true repeat
			distance := int(b) + 1
			if program[0]%9 == 4 {
				distance = int(b)*2 + 1
			}
			if distance > len(data) {
				continue
			}
			repeats = append(repeats, Repeat{at, uint32(n), uint32(distance)})
			for range n {
				data = append(data, data[len(data)-distance])
			}
		case 5: // noise
			for i := range n {
				data = append(data, byte((uint32(i)*uint32(b|1)*2654435761)>>13))
			}
		case 6: // a repeat that is little known of
			repeats = append(repeats, Repeat{at - uint32(a), uint32(b), uint32(b>>8) + 1})
		case 7: // or is cut
			if len(repeats) > 0 {
				last := &repeats[len(repeats)-1]
				last.Length -= uint32(a)
				last.At += uint32(b)
			}
		case 8: // huge numbers
			repeats = append(repeats, Repeat{at, math.MaxUint32 - uint32(a), math.MaxUint32 - uint32(b)})
		}
	}
	return data, repeats
}

// instructions make something like the sample.
func instructions(s sample) (program []byte) {
	end := 0
	literals := func(b []byte) {
		for ; len(b) >= 4; b = b[4:] {
			program = append(append(program, 0), b[:4]...)
		}
	}
	for _, r := range s.repeats[:min(len(s.repeats), 200)] {
		if at := int(r.At); at > end && at <= len(s.data) {
			literals(s.data[end:min(at, end+200)])
		}
		length := min(r.Length, math.MaxUint16)
		program = binary.LittleEndian.AppendUint16(append(program, 2), uint16(length))
		program = binary.LittleEndian.AppendUint16(program, uint16(r.Distance-1))
		end = int(r.At) + int(length)
	}
	if end < len(s.data) {
		literals(s.data[end:min(len(s.data), end+400)])
	}
	return program
}
