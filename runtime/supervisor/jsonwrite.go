package supervisor

import (
	"strconv"
	"time"

	"github.com/siflet/siflet/runtime/program"
)

// writer appends JSON to b. Fields with the zero value are left out unless
// the method says otherwise.
type writer struct {
	b     []byte
	comma bool
}

func (w *writer) open(c byte) {
	w.b = append(w.b, c)
	w.comma = false
}

func (w *writer) close(c byte) {
	w.b = append(w.b, c)
	w.comma = true
}

func (w *writer) sep() {
	if w.comma {
		w.b = append(w.b, ',')
	}
	w.comma = true
}

func (w *writer) key(k string) {
	w.sep()
	w.quote(k)
	w.b = append(w.b, ':')
}

func (w *writer) number(k string, n int) {
	w.key(k)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
}

func (w *writer) int(k string, n int) {
	if n != 0 {
		w.number(k, n)
	}
}

func (w *writer) bool(k string, v bool) {
	if v {
		w.key(k)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) string(k, s string) {
	if s != "" {
		w.key(k)
		w.quote(s)
	}
}

// time is always written, in UTC.
func (w *writer) time(k string, t time.Time) {
	w.key(k)
	w.b = append(w.b, '"')
	w.b = t.UTC().AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(w.b, '"')
}

func (w *writer) quote(s string) { w.b = program.AppendText(w.b, s) }
