package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	f.after = retryAfter(response.Header.Get("Retry-After"))
	const most = 16 << 10
	body, _ := io.ReadAll(io.LimitReader(response.Body, most))
	f.text = strings.TrimSpace(strconv.Itoa(response.StatusCode) + " " + http.StatusText(response.StatusCode))
	if said := message(body); said != "" {
		f.text += ": " + clean(said, l)
	}
	if f.kind == ErrDenied && l.empty() { //nolint:errorlint // it was set above
		f.text += " (without credentials)"
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

// retryAfter reads seconds or a date, and caps them.
func retryAfter(text string) time.Duration {
	const most = time.Minute
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(max(0, min(seconds, int64(most/time.Second)))) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, min(time.Until(date), most))
	}
	return 0
}

var (
	errStalled   = errors.New("the registry sent nothing for too long")
	errDowngrade = errors.New("it redirects from https to http")
	errElsewhere = errors.New("it redirects the request for a token to another host")
	errRedirects = errors.New("it redirects too often")
)

// unreachable turns a connection's error into a failure. URLs stay out of it: those
// that storage is redirected to carry signatures.
func unreachable(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled) {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	f := &failure{kind: ErrUnavailable, cause: err, retry: true, text: clean(host+": "+err.Error(), login{})}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		f.retry = false
		f.text += "; name its authority as ca in hosts.toml"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		f.retry = false
	}
	for _, final := range []error{errDowngrade, errElsewhere, errRedirects, http.ErrSchemeMismatch} {
		if errors.Is(err, final) {
			f.retry = false
		}
	}
	return f
}
