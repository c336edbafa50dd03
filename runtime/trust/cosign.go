package trust

// attachedBy says why none of the signatures attached in a registry is the key's,
// if none is.
func (s *Subject) attachedBy(k *Key) error { return ErrUnsigned }
