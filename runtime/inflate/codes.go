package inflate

func (f *decoder) fixed() {
	l := f.lengths[:288]
	for i := range l {
		switch {
		case i < 144, i >= 280:
			l[i] = 8
		case i < 256:
			l[i] = 9
		default:
			l[i] = 7
		}
	}
	f.code.build(f.lit[:], litBits, l, f.symbols.lit[:])
	for i := range 32 {
		l[i] = 5
	}
	f.code.build(f.dist[:], distBits, l[:32], f.symbols.dist[:])
}

// dynamic reads the codes of a block.
func (f *decoder) dynamic() error {
	if !f.need(14) {
		return f.short()
	}
	lits, dists, codes := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if lits > 286 || dists > 30 {
		return errDeflate
	}
	var short [19]uint8
	order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:codes] {
		if !f.need(3) {
			return f.short()
		}
		short[i] = uint8(f.take(3))
	}
	// Lengths are coded as literals would be, in the table that comes after.
	if !f.code.build(f.lit[:], 7, short[:], f.symbols.lit[:19]) {
		return errDeflate
	}
	for i := 0; i < lits+dists; {
		f.need(14)
		e := f.lit[f.bits&127]
		if e&isLiteral == 0 {
			if f.n < 7 {
				return f.short()
			}
			return errDeflate
		}
		size := uint(e & 255)
		symbol := uint8(e >> 16)
		times, value, extra := 1, symbol, uint(0)
		switch symbol {
		case 16:
			times, value, extra = 3, f.lengths[max(i-1, 0)], 2
		case 17:
			times, value, extra = 3, 0, 3
		case 18:
			times, value, extra = 11, 0, 7
		}
		if f.n < size+extra {
			return f.short()
		}
		f.take(size)
		times += int(f.take(extra))
		if i+times > lits+dists || symbol == 16 && i == 0 {
			return errDeflate
		}
		for range times {
			f.lengths[i] = value
			i++
		}
	}
	if !f.code.build(f.lit[:], litBits, f.lengths[:lits], f.symbols.lit[:]) ||
		!f.code.build(f.dist[:], distBits, f.lengths[lits:lits+dists], f.symbols.dist[:]) {
		return errDeflate
	}
	return nil
}
