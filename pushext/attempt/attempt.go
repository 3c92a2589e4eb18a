// Package attempt makes the one HTTP request that a push provider needs for one
// wake-up, and reads from it what all providers judge alike: the status, a
// bounded body, Retry-After, and the kind of a network failure.
//
// A provider builds a request, calls Do, and maps the Answer to its verdict;
// when Do fails, Failed is the verdict. Nothing here retries, follows a
// redirect or lets a URL or a server's free text into a Reason.
package attempt

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

const (
	// DefaultTimeout ends an attempt that hangs. The promise is 15 s in all: two attempts,
	// and a phone on 2G that takes 4 s to connect and fetch. Push services answer within a
	// second, and repeating a push that did arrive does no harm, because it has the same id.
	DefaultTimeout = 5 * time.Second

	// MaxAnswer is how many bytes of a reply are read. Error objects of the
	// push services are below 2 KiB.
	MaxAnswer = 16 << 10

	// MaxRetryAfter bounds what a server may ask for, because a wrong clock or header must
	// not silence a provider for longer than an outage lasts.
	MaxRetryAfter = 6 * time.Hour

	// MaxIdle is how many connections to one host are kept: http.Transport's
	// own default of 2 costs a dial for almost every push.
	MaxIdle = 256
)

// Answer is what a push service said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxAnswer bytes
}

// Transport returns a transport for many concurrent small requests to few
// hosts: HTTP/2 where offered, else kept connections. dial is nil for the
// plain dialer and config nil for the system's roots.
func Transport(config *tls.Config, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		MaxIdleConnsPerHost:    MaxIdle,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
		DisableCompression:     true, // bodies are small, and a bomb cannot unpack
	}
}

// Client returns a client of a transport, for Do and Post. Deadlines come from each
// request's context.
func Client(transport http.RoundTripper) *http.Client { return &http.Client{Transport: transport} }

// DefaultClient returns the client of a provider that was configured without
// one: many small requests to one push service, through the proxy that the
// environment names.
func DefaultClient() *http.Client {
	transport := Transport(nil, nil)
	transport.Proxy = http.ProxyFromEnvironment
	return Client(transport)
}

// Members reads the body of a notification as the JSON object that it has to be. Its
// error may be part of a reason.
func Members(body []byte) (map[string]json.RawMessage, error) {
	if sealed, ok := pushwire.SealedPart(body); ok { // nearly all are
		return map[string]json.RawMessage{"v": json.RawMessage(sealedVersion), "p": sealed}, nil
	}
	if !gjson.ValidBytes(body) {
		return nil, errNoObject
	}
	object := gjson.ParseBytes(body)
	if !object.IsObject() {
		return nil, errNoObject
	}
	members := make(map[string]json.RawMessage)
	object.ForEach(func(key, value gjson.Result) bool {
		members[key.String()] = json.RawMessage(value.Raw)
		return true
	})
	return members, nil
}

// sealedVersion is the member "v" of a sealed body.
var sealedVersion = strconv.Itoa(pushwire.Version)

var errNoObject = errors.New("body is not a JSON object")

// Post sends body to url with header and reads the answer. header is used as it
// is; if url names no user it is only read.
func Post(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header = header
	return Do(client, req)
}

// Do sends a request and reads the answer. It uses only client.Transport:
// redirects and cookies have no place here, and Client copies every header.
func Do(client *http.Client, req *http.Request) (Answer, error) {
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := read(resp)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// read reads the body of a response, MaxAnswer bytes of it at most.
func read(resp *http.Response) ([]byte, error) {
	if resp.ContentLength <= 0 || resp.ContentLength > MaxAnswer {
		return io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	}
	body := make([]byte, resp.ContentLength+1) // one more, to see the end, which keeps the connection
	n, err := io.ReadFull(resp.Body, body)
	if int64(n) == resp.ContentLength && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		err = nil
	}
	return body[:n], err
}

// Within is ctx with a deadline after timeout, or ctx itself if it ends no later.
func Within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// RetryAfter reads the header of that name (RFC 9110 section 10.2.3: seconds or
// a date), bounded by MaxRetryAfter. It reports false if there is none, or none that
// makes sense.
func (a Answer) RetryAfter(now time.Time) (time.Time, bool) {
	value := a.Header.Get("Retry-After")
	if value == "" {
		return time.Time{}, false
	}
	latest := now.Add(MaxRetryAfter)
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		switch {
		case seconds < 0:
			return time.Time{}, false
		case seconds > int64(MaxRetryAfter/time.Second):
			return latest, true
		}
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(value)
	switch {
	case err != nil:
		return time.Time{}, false
	case at.Before(now):
		return now, true
	case at.After(latest):
		return latest, true
	}
	return at, true
}

// Later is the verdict of a failure of the operator's push service that will pass:
// RetryAt if the answer names a time, else Retry. It concerns everybody.
func (a Answer) Later(now time.Time, reason string) pushext.Verdict {
	return a.later(now, reason, pushext.ScopeProvider)
}

// LaterHost is Later for a failure of the host that a user named.
func (a Answer) LaterHost(now time.Time, reason string) pushext.Verdict {
	return a.later(now, reason, pushext.ScopeHost)
}

// LaterHere is Later for a failure that, as far as the answer tells, concerns this
// address alone.
func (a Answer) LaterHere(now time.Time, reason string) pushext.Verdict {
	return a.later(now, reason, pushext.ScopeAddress)
}

func (a Answer) later(now time.Time, reason string, scope pushext.Scope) pushext.Verdict {
	if at, ok := a.RetryAfter(now); ok {
		return pushext.Verdict{Class: pushext.RetryAt, Scope: scope, At: at, Reason: reason}
	}
	return pushext.Verdict{Class: pushext.Retry, Scope: scope, Reason: reason}
}

// Failed is the verdict of a request without an answer. Its reason is kind and
// one of "cancelled", "timeout", "dns", "tls" or "network".
func Failed(kind string, err error) pushext.Verdict {
	return pushext.Verdict{Class: pushext.Retry, Reason: kind + " " + failure(err)}
}

func failure(err error) string {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		record      tls.RecordHeaderError
		late        net.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return "timeout"
	case errors.As(err, &dns):
		return "dns"
	case errors.As(err, &certificate), errors.As(err, &alert), errors.As(err, &record):
		return "tls"
	}
	return "network"
}
