package cri

// partSize keeps a message of a streamed list far below gRPC's limit.
const partSize = 100

// inParts sends a list in parts of at least one item.
func inParts[T any](list []T, send func([]T) error) error {
	for len(list) > 0 {
		n := min(partSize, len(list))
		if err := send(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
