package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/siflet/siflet/runtime/sif"
)

// What may be wrong with the signatures of a file.
var (
	// ErrUnsigned says that something in the file is not signed.
	ErrUnsigned = errors.New("not signed")
	// ErrUnknownKey says that it is signed, but with none of the keys given.
	ErrUnknownKey = errors.New("signed by unknown key")
	// ErrChanged says that it is signed with one of the keys, and is not what was
	// signed.
	ErrChanged = errors.New("changed since it was signed")
	// ErrBadSignature says that a signature which names one of the keys is not
	// that key's, or that the key must no longer be used.
	ErrBadSignature = errors.New("bad signature")
)

func changed(what string) error { return fmt.Errorf("%s: %w", what, ErrChanged) }

// report is what the signatures of a file come to for some keys. It holds
// for as long as the file is the same.
type report struct {
	seals []seal
	// objects are the IDs of all that a signature should cover.
	objects []uint32
	groups  map[uint32]uint32
	primary uint32
	// anonymous and swapped are of the container.
	anonymous, swapped bool
}

// examine looks at every signature of the file with the keys. Only data that a
// good signature with one of the keys speaks of is read, each piece once.
func examine(ctx context.Context, f *os.File, keys []*Key) (*report, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c, err := readContainer(f, info.Size())
	if err != nil {
		return nil, err
	}
	r := &report{groups: map[uint32]uint32{}, anonymous: c.anonymous(), swapped: c.swapped()}
	for _, o := range c.objects {
		r.objects = append(r.objects, o.ID)
		r.groups[o.ID] = o.Group
		if o.Type == sif.TypePartition && o.Part == sif.PartPrimary {
			r.primary = o.ID
		}
	}
	if r.seals, err = c.seals(ctx, keys); err != nil {
		return nil, err
	}
	return r, c.settle(ctx, r.seals)
}

// settle checks the claims of good signatures.
func (c *container) settle(ctx context.Context, seals []seal) error {
	wanted := map[dataID][]uint32{}
	for _, s := range seals {
		if s.key == nil || s.err != nil {
			continue
		}
		for _, claim := range s.claims {
			wanted[claim.data] = nil
			for _, id := range s.covers {
				if s.legacy || newDataID(claim.data.hash, id) == claim.data {
					wanted[claim.data] = append(wanted[claim.data], id)
				}
			}
		}
	}
	sums, err := c.hashData(ctx, wanted)
	if err != nil {
		return err
	}
	for i := range seals {
		s := &seals[i]
		for _, claim := range s.claims {
			if s.key != nil && s.err == nil && !bytes.Equal(sums[claim.data], claim.sum) {
				s.err = changed("data of object " + claim.data.ids)
			}
		}
	}
	return nil
}

// good says whether the signature is by one of the keys given, and true.
func (s *seal) good() bool { return s.key != nil && s.err == nil }

// bury makes signatures with keys that must not be used at the time bad ones.
func (r *report) bury(now time.Time) {
	for i := range r.seals {
		if s := &r.seals[i]; s.good() {
			s.err = s.key.alive(now)
		}
	}
}

// VerifyOptions says which signatures and what part of the file to look at.
type VerifyOptions struct {
	// All wants every signature to be good, and for legacy ones every object to
	// be signed. Else a signature with an unknown key does no harm where there is
	// a good one too.
	All bool
	// Legacy looks at signatures as old versions made them, and only at those.
	// They cover the data alone: what an object is used for may have been
	// changed. Without All, the primary partition is what must be signed.
	Legacy bool
	// Groups and Objects narrow down what must be signed; none is the whole file.
	Groups, Objects []uint32
}

// Verify checks the signatures of a SIF file. Its error is nil only if all that
// was asked for is covered by good signatures with the keys, and no signature
// with one of the keys is bad. Otherwise it is ErrUnsigned, ErrUnknownKey,
// ErrChanged or ErrBadSignature, or says why the file can't be read; the
// signers whose signatures are good are returned beside it.
func Verify(ctx context.Context, path string, keys []*Key, o VerifyOptions) ([]Signer, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, unwrapPath(err))
	}
	defer f.Close() //nolint:errcheck // read only
	r, err := examine(ctx, f, keys)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	r.bury(time.Now())
	wanted, err := r.wanted(o)
	if err == nil {
		err = r.judge(wanted, o)
	}
	if err != nil {
		err = fmt.Errorf("verify %s: %w", path, err)
	}
	return r.signers(o), err
}

// openRegular never waits for the writer of a pipe.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: not a regular file", sif.ErrNotSIF)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: not a regular file", sif.ErrNotSIF)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func unwrapPath(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// wanted lists the objects that must be signed.
func (r *report) wanted(o VerifyOptions) ([]uint32, error) {
	if len(o.Groups) == 0 && len(o.Objects) == 0 {
		if o.Legacy && !o.All && r.primary != 0 {
			return []uint32{r.primary}, nil
		}
		return r.objects, nil
	}
	wanted := slices.Clone(o.Objects)
	for _, id := range o.Objects {
		if !slices.Contains(r.objects, id) {
			return nil, fmt.Errorf("object %d: there is none", id)
		}
	}
	for _, group := range o.Groups {
		before := len(wanted)
		for _, id := range r.objects {
			if group != 0 && r.groups[id] == group {
				wanted = append(wanted, id)
			}
		}
		if len(wanted) == before {
			return nil, fmt.Errorf("group %d: there is none", group)
		}
	}
	return wanted, nil
}

// judge turns a report into an answer.
func (r *report) judge(wanted []uint32, o VerifyOptions) error {
	if len(wanted) == 0 {
		return fmt.Errorf("%w: there is nothing in it", ErrUnsigned)
	}
	covered, unknown := map[uint32]bool{}, map[uint32]*seal{}
	for i := range r.seals {
		s := &r.seals[i]
		about := slices.ContainsFunc(s.linked, func(id uint32) bool { return slices.Contains(wanted, id) })
		if s.legacy != o.Legacy || !about {
			continue
		}
		switch {
		case s.good():
			for _, id := range s.covers {
				covered[id] = true
			}
		case s.key != nil:
			return s.fault()
		case o.All:
			return s.fault()
		default:
			for _, id := range s.linked {
				unknown[id] = s
			}
		}
	}
	for _, id := range wanted {
		if covered[id] {
			continue
		}
		if s, ok := unknown[id]; ok {
			return s.fault()
		}
		return r.unsigned(id, o)
	}
	return nil
}

func (r *report) unsigned(id uint32, o VerifyOptions) error {
	for i := range r.seals {
		if s := &r.seals[i]; s.legacy && !o.Legacy && slices.Contains(s.linked, id) {
			return fmt.Errorf("%w: object %d has a legacy signature only, which protects less; accept it with --legacy-insecure", ErrUnsigned, id)
		}
	}
	if len(r.seals) == 0 {
		return ErrUnsigned
	}
	return fmt.Errorf("%w: object %d, while others are", ErrUnsigned, id)
}

func unknownKey(claimed string) error {
	if claimed == "" {
		return fmt.Errorf("%w: it does not say which", ErrUnknownKey)
	}
	return fmt.Errorf("%w %s", ErrUnknownKey, claimed)
}

// fault is what is wrong with a signature that is not good.
func (s *seal) fault() error {
	switch {
	case s.key == nil && (s.err == nil || s.claimed != ""):
		return unknownKey(s.claimed)
	case s.key == nil:
		return fmt.Errorf("%w: signature object %d: %w", ErrBadSignature, s.id, s.err)
	case errors.Is(s.err, ErrChanged):
		return fmt.Errorf("%w (signed by %s)", s.err, s.key)
	default:
		return fmt.Errorf("%w by %s: %w", ErrBadSignature, s.key, s.err)
	}
}

func (r *report) signers(o VerifyOptions) []Signer {
	var found []Signer
	for i := range r.seals {
		if s := &r.seals[i]; s.good() && s.legacy == o.Legacy {
			found = append(found, Signer{Key: s.key, Time: s.when, Legacy: s.legacy, Objects: s.covers})
		}
	}
	return found
}
