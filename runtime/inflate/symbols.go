package inflate

import "encoding/binary"

// coded decodes symbols until the block ends, the window is full, or the input needs
// care near its end.
func (f *decoder) coded() error {
	for f.room() {
		if f.end-f.pos < inSlack {
			f.fill()
		}
		if f.end-f.pos >= inSlack && f.out < f.quick {
			if done, err := f.fast(); done || err != nil {
				return err
			}
			continue
		}
		if done, err := f.careful(); done || err != nil {
			return err
		}
	}
	return nil
}

// careful decodes one symbol whose bits may not all be there.
func (f *decoder) careful() (done bool, err error) {
	f.need(48)
	e := f.lit[f.bits&(1<<litBits-1)]
	used := uint(0)
	if e&(isSpecial|isEnd|isInvalid) == isSpecial && e&isLiteral == 0 {
		used = litBits
		e = f.lit[(e>>16+uint32(f.bits>>used)&(1<<(e>>8&15)-1))&(litSize-1)]
	}
	if used+uint(e&255) > f.n {
		return false, f.short()
	}
	if e&isSpecial != 0 && e&isInvalid != 0 {
		return false, f.invalid()
	}
	f.take(used)
	if e&isLiteral != 0 {
		f.take(uint(e & 255))
		if f.out == len(f.window) {
			return false, errLong
		}
		f.window[f.out] = byte(e >> 16)
		f.out++
		return false, nil
	}
	if e&isSpecial != 0 {
		f.take(uint(e & 255))
		f.state = (*decoder).block
		return true, nil
	}
	length := int(e>>16) + int(f.bits&(1<<(e&63)-1)>>(e>>8&15))
	f.take(uint(e & 255))
	f.need(48)
	d := f.dist[f.bits&(1<<distBits-1)]
	used = 0
	if d&(isSpecial|isInvalid) == isSpecial {
		used = distBits
		d = f.dist[(d>>16+uint32(f.bits>>used)&(1<<(d>>8&15)-1))&(distSize-1)]
	}
	if used+uint(d&255) > f.n {
		return false, f.short()
	}
	if d&isSpecial != 0 {
		return false, f.invalid()
	}
	f.take(used)
	distance := int(d>>16) + int(f.bits&(1<<(d&63)-1)>>(d>>8&15))
	f.take(uint(d & 255))
	if distance > f.out-f.low {
		return false, errDeflate
	}
	if length > len(f.window)-f.out {
		return false, errLong
	}
	f.note(newRepeat(f.out-historySize, length, distance))
	for range length {
		f.window[f.out] = f.window[f.out-distance]
		f.out++
	}
	return false, nil
}

// invalid is the error for a code that means nothing: it may only be cut short.
func (f *decoder) invalid() error {
	if f.n < maxCode {
		return f.short()
	}
	return errDeflate
}

// fast decodes while a whole load of input is there and a symbol's room in the window.
// It is done at the end of the block.
//
//nolint:funlen,gocognit // the state stays in registers; calls would give away what is won
func (f *decoder) fast() (done bool, err error) {
	in, window := f.in[:f.end], f.window[:f.quick+outSlack]
	pos, out, low := f.pos, f.out, f.low
	buf, n := f.bits, f.n // of which the lowest six bits count
	repeats, found := f.repeats, f.found
	lit, dist := &f.lit, &f.dist
	for pos <= len(in)-inSlack && out < len(window)-outSlack {
		buf |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3 & 7)
		n |= 56
		e := lit[buf&(1<<litBits-1)]
		if e&isLiteral != 0 {
			buf >>= e & 63
			n -= uint(e)
			window[out] = byte(e >> 16)
			out++
			e = lit[buf&(1<<litBits-1)]
			if e&isLiteral != 0 {
				buf >>= e & 63
				n -= uint(e)
				window[out] = byte(e >> 16)
				out++
				e = lit[buf&(1<<litBits-1)]
				if e&isLiteral != 0 {
					buf >>= e & 63
					n -= uint(e)
					window[out] = byte(e >> 16)
					out++
					continue
				}
			}
		}
		// At least 34 bits are left: a code and what it says of the length.
		if e&isSpecial != 0 {
			if e&(isEnd|isInvalid) == 0 {
				buf >>= litBits
				n -= litBits
				e = lit[(e>>16+uint32(buf)&(1<<(e>>8&15)-1))&(litSize-1)]
			}
			if e&isLiteral != 0 {
				buf >>= e & 63
				n -= uint(e)
				window[out] = byte(e >> 16)
				out++
				continue
			}
			if e&isSpecial != 0 {
				if e&isInvalid != 0 {
					err = errDeflate
					break
				}
				buf >>= e & 63
				n -= uint(e)
				done = true
				f.state = (*decoder).block
				break
			}
		}
		length := int(e>>16) + int(buf&(1<<(e&63)-1)>>(e>>8&15))
		buf >>= e & 63
		n -= uint(e)
		if n&63 < 28 {
			buf |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int((63 - n) >> 3 & 7)
			n |= 56
		}
		d := dist[buf&(1<<distBits-1)]
		if d&isSpecial != 0 {
			if d&isInvalid == 0 {
				buf >>= distBits
				n -= distBits
				d = dist[(d>>16+uint32(buf)&(1<<(d>>8&15)-1))&(distSize-1)]
			}
			if d&isSpecial != 0 {
				err = errDeflate
				break
			}
		}
		distance := int(d>>16) + int(buf&(1<<(d&63)-1)>>(d>>8&15))
		buf >>= d & 63
		n -= uint(d)
		if distance > out-low {
			err = errDeflate
			break
		}
		if found < len(repeats) {
			repeats[found] = newRepeat(out-historySize, length, distance)
			found++
		}
		to := out
		out += length
		from := to - distance
		if distance >= 8 {
			// Most are no longer than two words.
			a, b := window[to:to+16], window[from:from+16]
			binary.LittleEndian.PutUint64(a, binary.LittleEndian.Uint64(b))
			binary.LittleEndian.PutUint64(a[8:], binary.LittleEndian.Uint64(b[8:]))
			for to, from = to+16, from+16; to < out; to, from = to+8, from+8 {
				binary.LittleEndian.PutUint64(window[to:], binary.LittleEndian.Uint64(window[from:]))
			}
			continue
		}
		for ; to < out; to++ {
			window[to] = window[from]
			from++
		}
	}
	f.pos, f.out, f.bits, f.n, f.found = pos, out, buf, n&63, found
	return done, err
}
