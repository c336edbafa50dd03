package squashfs

// metadata is a stream of metadata blocks: 8 KiB each, compressed one by one.
type metadata struct {
	encode encoder
	// sink takes each block with its header, and must not keep it.
	sink func([]byte) error
	buf  []byte
	out  []byte
	size int64 // of the blocks so far
}

func newMetadata(encode encoder, sink func([]byte) error) *metadata {
	const slack = 64
	return &metadata{
		encode: encode, sink: sink,
		buf: make([]byte, 0, metadataSize), out: make([]byte, 2+metadataSize+slack),
	}
}

// reference says where the next byte goes: the block's position, and that in it.
func (m *metadata) reference() uint64 { return uint64(m.size)<<16 | uint64(len(m.buf)) }

func (m *metadata) write(p []byte) error {
	for len(p) > 0 {
		n := copy(m.buf[len(m.buf):metadataSize], p)
		m.buf, p = m.buf[:len(m.buf)+n], p[n:]
		if len(m.buf) == metadataSize {
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush ends the block at hand, if there is one.
func (m *metadata) flush() error {
	if len(m.buf) == 0 {
		return nil
	}
	packed, smaller, err := m.encode(m.out[2:], m.buf)
	if err != nil {
		return err
	}
	header := uint16(len(packed))
	if !smaller {
		packed = m.out[2 : 2+copy(m.out[2:], m.buf)]
		header = uint16(len(packed)) | storedMetadata
	}
	m.out[0], m.out[1] = byte(header), byte(header>>8)
	m.buf = m.buf[:0]
	m.size += int64(2 + len(packed))
	return m.sink(m.out[:2+len(packed)])
}
