package emulate

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// Memory as an emulator's address makes it listen nowhere: only Transport
// reaches it. Everything else is the same, so that a test can run a provider
// against it in the fake time of testing/synctest, where sockets do not work.
const Memory = "memory"

// memoryHost is the host in such an emulator's URL; nothing ever looks it up.
const memoryHost = "emulator.test"

var errReset = errors.New("emulate: connection reset")

// Transport sends requests to the emulator without a network. RoundTrip handles
// the request itself.
func (s *Service) Transport() http.RoundTripper { return inMemory{s} }

type inMemory struct{ *Service }

// RoundTrip implements http.RoundTripper.
func (m inMemory) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.URL, err = url.ParseRequestURI(in.RequestURI); err != nil {
		return nil, err
	}
	in.RemoteAddr, in.Host = Memory, r.URL.Host
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/2.0", 2, 0
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	out := &written{header: make(http.Header)}
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p != http.ErrAbortHandler:
			panic(p)
		case r.Context().Err() != nil:
			err = r.Context().Err()
		default:
			err = errReset
		}
	}()
	m.server.Handler.ServeHTTP(out, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	out.WriteHeader(http.StatusOK) // unless it was called before
	return &http.Response{
		Status: http.StatusText(out.status), StatusCode: out.status, Proto: in.Proto, ProtoMajor: in.ProtoMajor, Header: out.sent,
		Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r,
	}, nil
}

// written is a reply in memory.
type written struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (w *written) Header() http.Header { return w.header }

func (w *written) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *written) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
