package fuse

import (
	"encoding/binary"
	"errors"
	"io/fs"
)

// A request and its answer, all in the machine's byte order (linux/fuse.h):
//
//	request  len 4, opcode 4, unique 8, node 8, uid 4, gid 4, pid 4, extensions 2, padding 2, body
//	answer   len 4, error 4, unique 8, body
const requestHead = 40

// The requests that are answered with more than an error.
const (
	opLookUp       = 1
	opForget       = 2
	opGetAttr      = 3
	opReadLink     = 5
	opOpen         = 14
	opRead         = 15
	opStatFS       = 17
	opRelease      = 18
	opGetXattr     = 22
	opListXattr    = 23
	opInit         = 26
	opOpenDir      = 27
	opReadDir      = 28
	opReleaseDir   = 29
	opDestroy      = 38
	opBatchForget  = 42
	opReadDirPlus  = 44
	opSetAttr      = 4
	opSymlink      = 6
	opRename       = 12
	opLink         = 13
	opWrite        = 16
	opSetXattr     = 21
	opRemoveXattr  = 24
	opCreate       = 35
	opFallocate    = 43
	opRename2      = 45
	opCopyRange    = 47
	opTemporary    = 51
	protocolMajor  = 7
	protocolMinor  = 31
	rootNode       = 1
	firstNode      = 2 // the node of the inode at reference 0
	forever        = 10 * 365 * 24 * 3600
	openKeepCache  = 1 << 1
	openCacheDir   = 1 << 3
	maxBackground  = 64
	congestion     = 48
	smallestWrite  = pageSize
	attrSize       = 88
	entrySize      = 40 + attrSize
	attrAnswerSize = 16 + attrSize
	initSize       = 64
)

// What the kernel can do, of which this asks for all.
const (
	initAsyncRead      = 1 << 0
	initExport         = 1 << 4
	initDoReadDirPlus  = 1 << 13
	initReadDirPlusAut = 1 << 14
	initNoOpen         = 1 << 17
	initParallelDirs   = 1 << 18
	initMaxPages       = 1 << 22
	initCacheSymlinks  = 1 << 23
	initNoOpenDir      = 1 << 24

	wanted = initAsyncRead | initExport | initDoReadDirPlus | initReadDirPlusAut | initNoOpen |
		initParallelDirs | initMaxPages | initCacheSymlinks | initNoOpenDir
)

// errno is an error number of Linux.
type errno int32

func (e errno) Error() string { return "error number" }

const (
	errNoEntry      = errno(2)
	errIO           = errno(5)
	errNotDirectory = errno(20)
	errInvalid      = errno(22)
	errReadOnly     = errno(30)
	errRange        = errno(34)
	errUnknown      = errno(38) // the kernel does not ask again
	errNoData       = errno(61)
	errProtocol     = errno(71)
	errStale        = errno(116)
)

// errNoAnswer says that the kernel wants none.
var errNoAnswer = errors.New("no answer")

// request is a request, whose body is in the worker's buffer.
type request struct {
	op     uint32
	unique uint64
	node   uint64
	body   []byte
}

func parse(raw []byte) request {
	le := binary.NativeEndian
	end := min(len(raw), int(le.Uint32(raw)))
	return request{op: le.Uint32(raw[4:]), unique: le.Uint64(raw[8:]), node: le.Uint64(raw[16:]), body: raw[requestHead:max(end, requestHead)]}
}

// handle puts the answer to a request into out, which has room for it, and says how long it is.
func (w *worker) handle(r request, out []byte) (int, error) {
	switch r.op {
	case opLookUp:
		return w.lookUp(r, out)
	case opGetAttr:
		return w.getAttr(r, out)
	case opReadLink:
		return w.readLink(r, out)
	case opRead:
		return w.read(r, out)
	case opReadDir, opReadDirPlus:
		return w.readDir(r, out, r.op == opReadDirPlus)
	case opGetXattr:
		return w.getXattr(r, out)
	case opListXattr:
		return w.listXattr(r, out)
	case opOpen:
		return w.open(w.noOpen.Load(), openKeepCache, out)
	case opOpenDir:
		return w.open(w.noOpenDir.Load(), openKeepCache|openCacheDir, out)
	case opStatFS:
		return w.statFS(out)
	case opInit:
		return w.init(r, out)
	case opRelease, opReleaseDir, opDestroy:
		return 0, nil
	case opForget, opBatchForget:
		return 0, errNoAnswer
	case opSetXattr, opRemoveXattr, opWrite, opCreate, opFallocate, opRename2, opCopyRange, opTemporary, opSetAttr:
		return 0, errReadOnly
	}
	if r.op >= opSymlink && r.op <= opLink {
		return 0, errReadOnly
	}
	return 0, errUnknown
}

// init agrees on the protocol.
func (w *worker) init(r request, out []byte) (int, error) {
	const size = 16
	le := binary.NativeEndian
	if len(r.body) < size {
		return 0, errProtocol
	}
	major, minor, readAhead, flags := le.Uint32(r.body), le.Uint32(r.body[4:]), le.Uint32(r.body[8:]), le.Uint32(r.body[12:])
	out = out[:initSize]
	clear(out)
	le.PutUint32(out, protocolMajor)
	le.PutUint32(out[4:], protocolMinor)
	if major > protocolMajor {
		return len(out), nil // it asks again
	}
	if major < protocolMajor || minor < protocolMinor {
		return 0, errProtocol
	}
	flags &= wanted
	w.noOpen.Store(flags&initNoOpen != 0)
	w.noOpenDir.Store(flags&initNoOpenDir != 0)
	le.PutUint32(out[8:], readAhead)
	le.PutUint32(out[12:], flags)
	le.PutUint16(out[16:], maxBackground)
	le.PutUint16(out[18:], congestion)
	le.PutUint32(out[20:], smallestWrite)
	le.PutUint32(out[24:], 1) // ns, of times
	le.PutUint16(out[28:], maxRead/pageSize)
	return len(out), nil
}

// number is what the kernel is told of an error. What the image has wrong is an I/O error.
func (w *worker) number(r request, err error) errno {
	var number errno
	switch {
	case errors.As(err, &number):
		return number
	case errors.Is(err, fs.ErrNotExist):
		return errNoEntry
	}
	w.o.Complain(&complaint{r.node, err})
	return errIO
}

// complaint says which inode an error is of.
type complaint struct {
	node uint64
	err  error
}

func (c *complaint) Error() string { return "inode at " + place(c.node) + ": " + c.err.Error() }
func (c *complaint) Unwrap() error { return c.err }
