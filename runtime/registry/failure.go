package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall" //nolint:depguard // the name of an error; no system call
	"time"
	"unicode"
)

// failure is one attempt's end at one server.
type failure struct {
	kind   error // one of the package's
	text   string
	cause  error
	status int // of the response, if there was one
	retry  bool
	after  time.Duration // how long the server wants to be left alone
	nobody bool          // listens there: the address may well be wrong
}

func (f *failure) Error() string {
	if f.text == "" {
		return f.kind.Error()
	}
	return f.kind.Error() + ": " + f.text
}

func (f *failure) Unwrap() []error {
	if f.cause != nil {
		return []error{f.kind, f.cause}
	}
	return []error{f.kind}
}

// busy says that the server wants no request now, whichever.
func (f *failure) busy() bool { return f.status == http.StatusTooManyRequests || f.after > Patience }

func corrupt(format string, args ...any) *failure {
	return &failure{kind: ErrCorrupt, text: fmt.Sprintf(format, args...)}
}

// refused turns a response that is no success into a failure, with what the registry
// says about it. It reads the body.
func refused(response *http.Response, l login) *failure {
	f := &failure{kind: ErrUnavailable, status: response.StatusCode}
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		f.kind = ErrDenied
	case code == http.StatusNotFound:
		f.kind = ErrNotFound
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code == http.StatusTooEarly:
		f.retry = true
	case code >= http.StatusInternalServerError:
		f.retry = code != http.StatusNotImplemented && code != http.StatusHTTPVersionNotSupported
	default:
	}
	f.after = RetryAfter(response.Header.Get("Retry-After"))
	host := Clean(response.Request.URL.Host)
	const most = 16 << 10
	body, _ := io.ReadAll(io.LimitReader(response.Body, most))
	f.text = strings.TrimSpace(strconv.Itoa(response.StatusCode) + " " + http.StatusText(response.StatusCode))
	if said := message(body); said != "" {
		f.text += ": " + clean(said, l)
	}
	if f.retry && f.after > Patience {
		f.retry = false
		f.text += fmt.Sprintf("; registry %s asks to come back in %s: try again then", host, Span(f.after))
	}
	if f.status == http.StatusBadRequest && response.Request.URL.Scheme == "http" && bytes.Contains(body, []byte("HTTPS")) {
		f.text += fmt.Sprintf("; host %s wants TLS: leave out --no-https, or write https:// in its hosts.toml", host)
	}
	return f
}

// message is the registry's own words, if they are in the form they should be in.
func message(body []byte) string {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"` // token servers
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	parts := []string{}
	for _, e := range answer.Errors {
		switch {
		case e.Message != "":
			parts = append(parts, e.Message)
		case e.Code != "":
			parts = append(parts, e.Code)
		}
	}
	for _, text := range []string{answer.Details, answer.Message} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}

// Clean makes a stranger's text fit for a person and a log: short and printable.
func Clean(text string) string { return clean(text, login{}) }

// clean makes a stranger's text fit for a log: short, printable, without our secrets.
func clean(text string, l login) string {
	for _, secret := range l.secrets() {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	const most = 300
	var b strings.Builder
	for _, r := range text {
		if b.Len() > most {
			b.WriteString("...")
			break
		}
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsPrint(r) && r != unicode.ReplacementChar:
			b.WriteRune(r)
		default:
			b.WriteByte('?')
		}
	}
	return strings.TrimSpace(b.String())
}

// Patience is the longest that a server is waited for that says when to come back.
const Patience = time.Minute

// RetryAfter reads the header of that name, seconds or a date; zero is not to wait.
func RetryAfter(text string) time.Duration {
	const most = 10 * 365 * 24 * time.Hour // what a duration can surely hold
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(most/time.Second)))) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, min(time.Until(date), most))
	}
	return 0
}

// Span is a duration for people: "1.5s", "1h", "2h5m".
func Span(d time.Duration) string {
	const fine = 10 * time.Second
	if d < fine {
		return d.Round(100 * time.Millisecond).String() //nolint:mnd // a tenth
	}
	text := d.Round(time.Second).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

var (
	errStalled   = errors.New("the registry sent nothing for too long")
	errSlow      = errors.New("the registry sends next to nothing")
	errDowngrade = errors.New("it redirects from https to http")
	errElsewhere = errors.New("it redirects the request for a token to another host")
	errRedirects = errors.New("it redirects too often")
	errScheme    = errors.New("it redirects to what is no web address")
)

// unreachable turns a connection's error into a failure. URLs stay out of it: those
// that storage is redirected to carry signatures.
func unreachable(ctx context.Context, e *endpoint, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled) {
		return context.Cause(ctx)
	}
	host := e.host
	if from, ok := errors.AsType[*url.Error](err); ok {
		err = from.Err
		if u, failed := url.Parse(from.URL); failed == nil && u.Host != "" {
			host = Clean(u.Host)
		}
	}
	f := &failure{kind: ErrUnavailable, cause: err, retry: true, nobody: Refused(err), text: Clean(plainly(host, err))}
	if host != e.host {
		f.text = host + ", where it redirects to: " + f.text
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		f.text += fmt.Sprintf("; if you trust %s, say which authority's certificate is right: ca = \"FILE\" in %s", host, e.settings)
	}
	if Hopeless(err) {
		f.retry = false
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		f.text = e.speaksPlain(host)
	}
	for _, final := range []error{errDowngrade, errElsewhere, errRedirects, errScheme} {
		if errors.Is(err, final) {
			f.retry = false
		}
	}
	return f
}

// Hopeless says that a server that can't be reached won't be a moment later.
func Hopeless(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.AddrError](err); ok { // no port, no address
		return true
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound || errors.Is(err, http.ErrSchemeMismatch)
}

// RefusedAttempts is how often a request is made of a server that refuses the connection.
const RefusedAttempts = 3

// Refused says that nobody listens at the address of a server.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// plainly says what went wrong with a connection. The address shows only if
// it tells more than the host does.
func plainly(host string, err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "there is no host " + dns.Name
		}
		return "look up " + dns.Name + ": " + dns.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection broke off"
	}
	call, refused := errors.AsType[*os.SyscallError](err)
	dial, dialled := errors.AsType[*net.OpError](err)
	if address, wrong := errors.AsType[*net.AddrError](err); wrong {
		return address.Err + " " + address.Addr
	}
	switch {
	case !refused || !dialled || dial.Op != "dial" || dial.Addr == nil:
		return err.Error()
	case dial.Addr.String() == host:
		return call.Err.Error()
	default:
		return dial.Addr.String() + ": " + call.Err.Error()
	}
}

// speaksPlain says that a server has no TLS, and what to do about it.
func (e *endpoint) speaksPlain(host string) string {
	said := "host " + host + " speaks plain HTTP"
	switch {
	case host != e.host:
		return said
	case e.own():
		return fmt.Sprintf("%s: if you trust the network to it, use siflet pull --no-https, or write server = \"http://%s\" in %s", said, host, e.settings)
	default:
		return fmt.Sprintf("%s: if you trust the network to it, write http://%s for it in %s", said, host, e.settings)
	}
}
