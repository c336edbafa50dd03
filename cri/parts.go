package cri

import "google.golang.org/protobuf/proto"

// A part of a streamed list is far below the 16 MiB that the kubelet reads: of
// things that a client made, each of which may carry megabytes of annotations.
const (
	partCount = 100
	partBytes = 4 << 20
)

// inParts sends a list in parts of at least one item.
func inParts[T proto.Message](list []T, send func([]T) error) error {
	for len(list) > 0 {
		n, size := 0, 0
		for n < min(partCount, len(list)) {
			size += proto.Size(list[n])
			if n > 0 && size > partBytes {
				break
			}
			n++
		}
		if err := send(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
