package squashfs

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// output is the file system behind the data.
type output struct {
	buf    *bufio.Writer
	offset int64
}

func (o *output) write(p []byte) error {
	n, err := o.buf.Write(p)
	o.offset += int64(n)
	if err != nil {
		return fmt.Errorf("write tables at %d: %w", o.offset, err)
	}
	return nil
}

// finish writes all that comes after the data, and the superblock.
func (w *Writer) finish() (int64, error) {
	start := w.pipe.commit.offset
	out := &output{bufio.NewWriterSize(io.NewOffsetWriter(w.w, start), 64<<10), start}
	p := newPrinter(w, out)
	root, err := p.directory(w.tree.root, 0)
	if err != nil {
		return 0, err
	}
	s := superblock{root: root, start: start, count: uint32(len(p.references))}
	if err := p.inodes.flush(); err != nil {
		return 0, err
	}
	s.directories = out.offset
	if err := p.writeDirectories(); err != nil {
		return 0, err
	}
	if err := w.writeTables(p, out, &s); err != nil {
		return 0, err
	}
	used := out.offset
	size := (used + pageSize - 1) / pageSize * pageSize
	if err := out.write(make([]byte, size-used)); err != nil {
		return 0, err
	}
	if err := out.buf.Flush(); err != nil {
		return 0, fmt.Errorf("write tables: %w", err)
	}
	s.used = used
	head := append(s.encode(w.options, w.tree.time), compressionOptions(w.options)...)
	if _, err := w.w.WriteAt(head, 0); err != nil {
		return 0, fmt.Errorf("write superblock: %w", err)
	}
	return size, nil
}

// writeTables writes the lookup tables in the order that Linux checks.
func (w *Writer) writeTables(p *printer, out *output, s *superblock) (err error) {
	le := binary.LittleEndian
	s.fragmentCount = uint32(len(p.fragments.used))
	s.fragments, err = table(w.encode, out, nil, len(p.fragments.used), func(b []byte, i int) []byte {
		f := w.pipe.commit.fragments[p.fragments.used[i]]
		b = le.AppendUint64(b, uint64(f.start))
		return le.AppendUint64(b, uint64(f.word))
	})
	if err != nil {
		return err
	}
	s.export, err = table(w.encode, out, nil, len(p.references), func(b []byte, i int) []byte {
		return le.AppendUint64(b, p.references[i])
	})
	if err != nil {
		return err
	}
	s.idCount = uint16(len(p.ids.used))
	s.ids, err = table(w.encode, out, nil, len(p.ids.used), func(b []byte, i int) []byte {
		return le.AppendUint32(b, w.tree.ids[p.ids.used[i]])
	})
	if err != nil {
		return err
	}
	s.xattrs, err = w.writeXattrs(p, out)
	return err
}

// writeXattrs returns where the table of extended attributes is, if there is one.
func (w *Writer) writeXattrs(p *printer, out *output) (uint64, error) {
	if len(p.xattrs.used) == 0 {
		return noTable, nil
	}
	le := binary.LittleEndian
	if err := w.xattrs.meta.flush(); err != nil {
		return 0, err
	}
	head := le.AppendUint64(nil, uint64(out.offset))
	head = le.AppendUint64(head, uint64(len(p.xattrs.used)))
	for _, b := range w.xattrs.blocks {
		if err := out.write(b); err != nil {
			return 0, err
		}
	}
	at, err := table(w.encode, out, head, len(p.xattrs.used), func(b []byte, i int) []byte {
		set := w.xattrs.sets[p.xattrs.used[i]]
		b = le.AppendUint64(b, set.reference)
		b = le.AppendUint32(b, set.count)
		return le.AppendUint32(b, set.size)
	})
	return uint64(at), err
}

// table writes n entries as metadata blocks, then head, then where the blocks
// are, and returns where head is.
func table(encode encoder, out *output, head []byte, n int, entry func([]byte, int) []byte) (int64, error) {
	var index []byte
	m := newMetadata(encode, func(b []byte) error {
		index = binary.LittleEndian.AppendUint64(index, uint64(out.offset))
		return out.write(b)
	})
	var buf [16]byte
	for i := range n {
		if err := m.write(entry(buf[:0], i)); err != nil {
			return 0, err
		}
	}
	if err := m.flush(); err != nil {
		return 0, err
	}
	at := out.offset
	return at, out.write(append(head, index...))
}

type superblock struct {
	root                         uint64
	start, directories           int64
	fragments, export, ids, used int64
	xattrs                       uint64
	count, fragmentCount         uint32
	idCount                      uint16
}

func (s superblock) encode(o Options, stamp uint32) []byte {
	le := binary.LittleEndian
	compression, flags := o.Compression, uint16(flagDuplicates|flagExport)
	if compression == None {
		compression = Gzip
		flags |= flagStoredInodes | flagStoredData | flagStoredFragments | flagStoredXattrs | flagStoredIDs
	}
	if len(compressionOptions(o)) > 0 {
		flags |= flagOptions
	}
	b := make([]byte, 0, superblockSize+16)
	for _, v := range []uint32{magic, s.count, stamp, uint32(o.BlockSize), s.fragmentCount} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{uint16(compression), uint16(bits.TrailingZeros(uint(o.BlockSize))), flags, s.idCount, 4, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint64{
		s.root, uint64(s.used), uint64(s.ids), s.xattrs, uint64(s.start),
		uint64(s.directories), uint64(s.fragments), uint64(s.export),
	} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// compressionOptions is what comes behind the superblock: a metadata block of
// the compression's own, which only LZ4 needs.
func compressionOptions(o Options) []byte {
	if o.Compression != LZ4 {
		return nil
	}
	const version, high = 1, 1
	le := binary.LittleEndian
	b := le.AppendUint16(nil, 8|storedMetadata)
	b = le.AppendUint32(b, version)
	if o.Level > 0 {
		return le.AppendUint32(b, high)
	}
	return le.AppendUint32(b, 0)
}
