package supervisor

import (
	"encoding/binary"
	"errors"
)

// A message is its length (4 bytes, big endian) and that much JSON. Passed
// descriptors travel with the message's first bytes.
const (
	headerSize = 4
	// maxMessage bounds what either side accepts.
	maxMessage = 4 << 20
	socketName = "control.sock"
)

var errMessageSize = errors.New("message of an impossible size")

func frameSize(header []byte) (int, error) {
	n := binary.BigEndian.Uint32(header)
	if n == 0 || n > maxMessage {
		return 0, errMessageSize
	}
	return int(n), nil
}

// sealFrame fills in the header of a frame that was begun with headerSize
// bytes of room.
func sealFrame(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-headerSize)) //nolint:gosec // bounded by maxMessage
	return b
}
