package runtime

import (
	"fmt"

	"github.com/siflet/siflet/runtime/linux"
)

// Trouble is something that is wrong and keeps no instance from running on.
type Trouble struct {
	Condition string // what is not so
	Reason    string // in one word
	Err       error
}

// smallRoom is what the state root needs at least, in bytes and in files, for a pod or two.
const (
	smallRoom  = 1 << 20
	smallFiles = 64
)

// Troubles are what is wrong now.
func (e *Engine) Troubles() []Trouble {
	var out []Trouble
	if err := e.intact(); err != nil {
		out = append(out, Trouble{"RecordsIntact", "RecordsCorrupt", err})
	}
	if reason, err := e.writable(); err != nil {
		out = append(out, Trouble{"StateWritable", reason, err})
	}
	return out
}

// writable says why nothing can be made below the state root.
func (e *Engine) writable() (reason string, err error) {
	room, err := linux.RoomAt(e.cfg.StateDir)
	switch {
	case err != nil:
		return "StateMissing", fmt.Errorf("the state directory: %w", err)
	case room.ReadOnly:
		return "ReadOnly", fmt.Errorf("the file system of the state directory %s is read-only: pods go on, none can be made; mount it read-write", e.cfg.StateDir)
	case room.Bytes > 0 && room.FreeBytes < smallRoom:
		return "DiskFull", fmt.Errorf("the file system of the state directory %s has %d bytes left: pods go on, making others fails or soon will; remove images or containers, or what else fills it",
			e.cfg.StateDir, room.FreeBytes)
	case room.Inodes > 0 && room.FreeInodes < smallFiles:
		return "InodesUsedUp", fmt.Errorf("the file system of the state directory %s has room for %d more files: pods go on, making others fails or soon will; remove what has many",
			e.cfg.StateDir, room.FreeInodes)
	}
	return "", nil
}
