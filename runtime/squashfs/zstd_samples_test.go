package squashfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
)

// sample is something to compress, and what to say of it.
type sample struct {
	name    string
	data    []byte
	repeats []Repeat
	// most is what it may take as zstd, or -1 if it has to be incompressible.
	most int
}

// made makes data of what repeats in it, so that all of the repeats are true.
type made struct {
	data    []byte
	repeats []Repeat
	rng     *rand.Rand
}

func newMade(seed uint64) *made { return &made{rng: rand.New(rand.NewPCG(seed, 1))} }

// noise appends n bytes, each of one of 1<<bits values.
func (m *made) noise(n, bits int) *made {
	for range n {
		m.data = append(m.data, byte(m.rng.Uint32())>>(8-bits))
	}
	return m
}

func (m *made) repeat(length, distance int) *made {
	m.repeats = append(m.repeats, Repeat{uint32(len(m.data)), uint32(length), uint32(distance)})
	for range length {
		m.data = append(m.data, m.data[len(m.data)-distance])
	}
	return m
}

func (m *made) sample(name string, most int) sample { return sample{name, m.data, m.repeats, most} }

func samples() []sample {
	text := bytes.Repeat([]byte("All the world's a stage, and all the men and women merely players. "), 300)
	zeros := make([]byte, zstdBlock)
	list := []sample{
		{"nothing", nil, nil, -1},
		{"one byte", []byte{7}, nil, -1},
		{"zeros without repeats", zeros, nil, 20},
		newMade(1).noise(zstdBlock, 8).sample("noise", -1),
		newMade(2).noise(zstdBlock, 4).sample("literals alone", zstdBlock/2+100),
		newMade(3).noise(500, 4).sample("few literals alone", 290),
		newMade(4).noise(40, 8).repeat(3000, 40).sample("one sequence", 60),
		newMade(5).noise(1, 8).repeat(zstdBlock-1, 1).sample("the longest match", 30),
		newMade(6).noise(zstdBlock-3, 4).repeat(3, 9).sample("the most literals before a match", zstdBlock/2+100),
		newMade(6).noise(100, 8).repeat(100, 100).noise(3, 8).sample("literals at the end", 140),
		newMade(6).noise(100, 8).repeat(20, 100).noise(3, 8).repeat(30, 50).noise(9, 8).repeat(40, 7).sample("few sequences", 136),
		{"text", text, matches(text), 140},
	}
	for i, s := range list[1:] {
		if len(s.data) > 1 { // no longer than a frame of it, but one
			list = append(list, sample{fmt.Sprint("a byte alone before ", list[i+1].name), s.data[:1+len(s.data)/7], s.repeats, zstdBlock})
		}
	}
	for distance := 1; distance <= 8; distance++ {
		m := newMade(uint64(distance)).noise(9, 8)
		for length := 3; length < 200; length += 7 {
			m.noise(1, 8).repeat(length, distance)
		}
		list = append(list, m.sample(fmt.Sprint("overlapping by all but ", distance), 300))
	}
	list = append(list, runs(), slots(), allLengths(), shortest(zstdBlock), shortest(4000))
	for seed := range uint64(20) {
		list = append(list, anything(seed))
	}
	for seed := range uint64(40) {
		list = append(list, wide(seed))
	}
	return append(list, disordered()...)
}

// runs are matches of 258 bytes one after another, as deflate has them.
func runs() sample {
	m := newMade(7).noise(5, 8)
	for range 400 {
		m.repeat(258, 5)
	}
	return m.repeat(1, 5).repeat(2, 5).noise(1, 8).sample("a long run", 40)
}

// slots uses all of the last three distances, with literals before and without.
func slots() sample {
	m := newMade(8).noise(300, 8)
	used := []int{200, 150, 100}
	for i := range 2000 {
		for m.noise(i%3, 8); ; {
			distance := used[m.rng.IntN(3)]
			if i%7 == 0 {
				distance = used[0] - 1
			}
			if i%11 == 0 {
				distance = 4 + m.rng.IntN(250)
			}
			if distance < 1 {
				distance = 300
			}
			if i%3 == 0 && distance == used[0] {
				continue
			}
			m.repeat(3+m.rng.IntN(20), distance)
			used = slices.Insert(slices.DeleteFunc(used, func(d int) bool { return d == distance }), 0, distance)[:3]
			break
		}
		if len(m.data) > 100<<10 {
			break
		}
	}
	return m.sample("the last distances", 4700)
}

// allLengths has each symbol for numbers of literals, and for lengths of matches.
func allLengths() sample {
	m := newMade(9).noise(64, 2)
	for bits := range 16 {
		for n := 1 << bits; n < 2<<bits && len(m.data)+n < zstdBlock-70000; n += max(1<<bits/8, 1) {
			m.noise(n, 2).repeat(n+2, 1+m.rng.IntN(len(m.data)))
		}
	}
	return m.repeat(66000, 7).sample("all lengths", zstdBlock)
}

// shortest are as many sequences as there can be.
func shortest(size int) sample {
	m := newMade(10).noise(4, 8)
	for i := range (size - 4) / 3 {
		m.repeat(3, 3+i%2)
	}
	return m.sample(fmt.Sprint("the shortest matches, of ", size), size)
}

// anything is different each time.
func anything(seed uint64) sample {
	m := newMade(seed).noise(1+int(seed)%7, 8)
	size := 1 << (4 + seed%14)
	most := []int{4, 16, 300, 5000}[seed%4]
	for len(m.data) < size {
		m.noise(m.rng.IntN(min(most, size-len(m.data))+1), 1+int(seed)%8)
		if length := m.rng.IntN(most); length <= size-len(m.data) {
			m.repeat(length, 1+m.rng.IntN(min(len(m.data), 1<<m.rng.IntN(18))))
		}
	}
	return m.sample(fmt.Sprint("anything, ", seed), zstdBlock)
}

// wide has large numbers, more bits of which come together than are held at once.
func wide(seed uint64) sample {
	m := newMade(seed).noise(20000, 2)
	for len(m.data) < zstdBlock-5 {
		m.noise(m.rng.IntN(min(20000, zstdBlock-3-len(m.data))), 2)
		m.repeat(min(zstdBlock-len(m.data), 3+m.rng.IntN(40000)), 8000+m.rng.IntN(12000))
	}
	return m.sample(fmt.Sprint("large numbers, ", seed), zstdBlock)
}

// disordered are true repeats, but not in their order.
func disordered() (list []sample) {
	m := newMade(12).noise(100, 8)
	for range 100 {
		m.noise(3, 8).repeat(5+m.rng.IntN(50), 1+m.rng.IntN(100))
	}
	for name, order := range map[string]func(r []Repeat){
		"backwards": slices.Reverse[[]Repeat],
		"shuffled":  func(r []Repeat) { m.rng.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] }) },
		"halves":    func(r []Repeat) { copy(r, append(slices.Clone(r[50:]), r[:50]...)) },
		"doubled":   func(r []Repeat) { copy(r[50:], r[:50]) },
	} {
		repeats := slices.Clone(m.repeats)
		order(repeats)
		list = append(list, sample{name, m.data, repeats, zstdBlock})
	}
	return list
}

// matches finds what repeats as the simplest deflate would.
func matches(src []byte) (repeats []Repeat) {
	const least, window, longest = 4, 32 << 10, 258
	last := map[[least]byte]int{}
	for i := 0; i+least <= len(src); {
		key := [least]byte(src[i:])
		from, ok := last[key]
		last[key] = i
		if !ok || i-from > window {
			i++
			continue
		}
		n := least
		for n < longest && i+n < len(src) && src[from+n] == src[i+n] {
			n++
		}
		repeats = append(repeats, Repeat{uint32(i), uint32(n), uint32(i - from)})
		for end := i + n; i < end; i++ {
			if i+least <= len(src) {
				last[[least]byte(src[i:])] = i
			}
		}
	}
	return repeats
}
