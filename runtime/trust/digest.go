package trust

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
)

// digest is "sha256:<hex>" and the like.
type digest struct {
	hash crypto.Hash
	sum  []byte
}

func hashNames() map[string]crypto.Hash {
	return map[string]crypto.Hash{
		"sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
		"sha512_224": crypto.SHA512_224, "sha512_256": crypto.SHA512_256,
	}
}

// UnmarshalJSON reads a digest.
func (d *digest) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	name, digits, _ := strings.Cut(text, ":")
	h, ok := hashNames()[name]
	if !ok {
		return fmt.Errorf("hash algorithm %.20q is unknown", name)
	}
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != h.Size() {
		return fmt.Errorf("digest %.150q is malformed", text)
	}
	*d = digest{h, sum}
	return nil
}

// MarshalJSON writes it.
func (d digest) MarshalJSON() ([]byte, error) {
	for name, h := range hashNames() {
		if h == d.hash {
			return json.Marshal(name + ":" + hex.EncodeToString(d.sum))
		}
	}
	return nil, errors.New("digest without an algorithm")
}

func (d digest) of(text []byte) bool {
	if d.hash == 0 {
		return false
	}
	w := d.hash.New()
	w.Write(text)
	return bytes.Equal(d.sum, w.Sum(nil))
}

// dataID names the data of some objects, one after the other, and a hash of it.
type dataID struct {
	hash crypto.Hash
	ids  string
}

func newDataID(h crypto.Hash, ids ...uint32) dataID {
	return dataID{h, strings.Trim(fmt.Sprint(ids), "[]")}
}

// hashData hashes every piece of data that claims are about, each once, and
// several at a time.
func (c *container) hashData(ctx context.Context, wanted map[dataID][]uint32) (map[dataID][]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		sums = map[dataID][]byte{}
		turn = make(chan struct{}, goruntime.GOMAXPROCS(0))
	)
	// The order makes nothing but errors reproducible.
	for _, id := range slices.SortedFunc(maps.Keys(wanted), func(a, b dataID) int { return strings.Compare(a.ids, b.ids) }) {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			w := id.hash.New()
			for _, object := range wanted[id] {
				if err := c.hashObject(ctx, w, object); err != nil {
					cancel(fmt.Errorf("object %d: %w", object, err))
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			sums[id] = w.Sum(nil)
		})
	}
	wg.Wait()
	return sums, context.Cause(ctx)
}

// hashObject reads ahead while it hashes.
func (c *container) hashObject(ctx context.Context, w hash.Hash, id uint32) error {
	const chunk, ahead = 1 << 20, 3
	o, ok := c.object(id)
	if !ok {
		return errMoved
	}
	r := c.file.Section(o.Descriptor)
	if o.Size <= chunk {
		n, err := io.Copy(w, r)
		if err == nil && n != o.Size {
			err = io.ErrUnexpectedEOF
		}
		return errors.Join(err, ctx.Err())
	}
	free, full := make(chan []byte, ahead), make(chan []byte, ahead)
	for range ahead {
		free <- make([]byte, chunk)
	}
	var readErr error
	go func() {
		defer close(full)
		for left := o.Size; left > 0; {
			buf := <-free
			if buf == nil {
				return
			}
			buf = buf[:min(left, chunk)]
			if _, readErr = io.ReadFull(r, buf); readErr != nil {
				return
			}
			left -= int64(len(buf))
			full <- buf
		}
	}()
	var err error
	for buf := range full {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			// Nothing more is read, and the reader is gone when full is closed.
			close(free)
			for range full {
			}
			break
		}
		w.Write(buf)
		free <- buf[:chunk]
	}
	return errors.Join(err, readErr)
}
