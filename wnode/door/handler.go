package door

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"whisperpush/whisper"
)

// Paths of the door.
const (
	OfferPath   = "/.well-known/whisperpush"
	RequestPath = "/whisperpush/request"
	RingPath    = "/whisperpush/ring"
	PostPath    = "/whisperpush/post"
)

// retryAfter is when to come back to a busy door, in seconds.
const retryAfter = 5

// corsLife is for how many seconds a browser remembers the permission; no browser takes more.
const corsLife = 7200

func (d *Door) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(path, method string, serve func(http.ResponseWriter, *http.Request) int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", "*") // there is no cookie that another site's page could use
			h.Set("Access-Control-Expose-Headers", "Date, Retry-After")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Cache-Control", "no-store")
			switch r.Method {
			case method:
				d.m.requests.WithLabelValues(path, strconv.Itoa(serve(w, r))).Inc()
			case http.MethodOptions:
				h.Set("Access-Control-Allow-Methods", method)
				h.Set("Access-Control-Allow-Headers", "Content-Type")
				h.Set("Access-Control-Max-Age", strconv.Itoa(corsLife))
				w.WriteHeader(http.StatusNoContent)
			default:
				h.Set("Allow", method+", OPTIONS")
				d.m.requests.WithLabelValues(path, strconv.Itoa(fail(w, http.StatusMethodNotAllowed, "this path takes "+method))).Inc()
			}
		})
	}
	route(OfferPath, http.MethodGet, d.offer)
	route(RequestPath, http.MethodPost, func(w http.ResponseWriter, r *http.Request) int { return d.request(w, r, false) })
	route(RingPath, http.MethodPost, func(w http.ResponseWriter, r *http.Request) int { return d.request(w, r, true) })
	route(PostPath, http.MethodPost, d.post)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if app := *d.app.Load(); app != nil {
			app.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
	return mux
}

// fail answers with a status and a sentence, and returns the status.
func fail(w http.ResponseWriter, status int, text string) int {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(defaultTimes.write))
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
	return status
}

// unread notes that the body of a request is not read, so an HTTP/1.1 connection cannot continue
// after it.
func unread(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

func (d *Door) offer(w http.ResponseWriter, r *http.Request) int {
	env, err := d.rooms.Offer(r.Context())
	switch {
	case err != nil:
		d.log.Error("the offer cannot be made", "err", err)
		return fail(w, http.StatusServiceUnavailable, "not now")
	case env == nil:
		return fail(w, http.StatusNotFound, "this server takes no registrations")
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d.times.write))
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(env.Raw())
	return http.StatusOK
}

// envelope reads the body, until ctx ends. If it is not an envelope, it answers, and returns nil
// and the status.
func envelope(ctx context.Context, w http.ResponseWriter, r *http.Request, most int64, within time.Duration) (*whisper.Envelope, int) {
	refuse := func(status int, text string) (*whisper.Envelope, int) {
		unread(w, r)
		return nil, fail(w, status, text)
	}
	switch {
	case len(r.Header.Values("Content-Encoding")) > 0:
		return refuse(http.StatusUnsupportedMediaType, "the body must not be encoded")
	case r.ContentLength <= 0 || len(r.TransferEncoding) > 0:
		return refuse(http.StatusLengthRequired, "give the length of the body")
	case r.ContentLength > most:
		return refuse(http.StatusRequestEntityTooLarge, "at most "+strconv.FormatInt(most, 10)+" bytes")
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(within))
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		control.SetReadDeadline(past)
	})
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, body)
	if !stop() {
		<-cut // nothing touches the stream after this
		return refuse(http.StatusServiceUnavailable, "the server is busy")
	}
	if err != nil {
		return refuse(http.StatusRequestTimeout, "the body did not come")
	}
	control.SetReadDeadline(time.Time{})
	env, err := whisper.DecodeEnvelope(body)
	if err != nil {
		return nil, fail(w, http.StatusBadRequest, "the body is no envelope")
	}
	return env, 0
}

// request handles one request, and keeps the stream open for rings if stays is set.
func (d *Door) request(w http.ResponseWriter, r *http.Request, stays bool) int {
	id, source := d.asker(r)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(d.life, func() { cancel(errGone) })()
	place := d.answers.take(source, func() { cancel(errGaveWay) })
	defer d.answers.free(place)
	env, status := envelope(ctx, w, r, d.maxRequest, d.times.body)
	if env == nil {
		return status
	}
	prove := func() {
		d.answers.prove(place)
		d.proveConn(r)
	}
	if stays {
		rand.Read(id[:]) // rings on one stream do not wait for those on another
		ring := d.rings.take(source, func() { cancel(errGaveWay) })
		defer d.rings.free(ring)
		former := prove
		prove = func() {
			former()
			d.rings.prove(ring)
		}
	}
	c := &Caller{
		id: id, source: source, stays: stays, prove: prove,
		control: http.NewResponseController(w), end: func() { cancel(errGone) }, answered: make(chan struct{}), w: w, patience: d.times.write,
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold rings back
	w.WriteHeader(http.StatusOK)
	d.rooms.Request(c, env)
	whole := d.await(ctx, c)
	if whole && stays && c.granted.Load() {
		d.answers.free(place)
		whole = d.keep(ctx, c)
	}
	c.close()
	if !whole {
		d.m.broken.Inc()
		panic(http.ErrAbortHandler) // so that the other end knows that something is missing
	}
	return http.StatusOK
}

var errGaveWay = errors.New("door: gave way to another")

// await waits until the request is answered, and reports whether it was.
func (d *Door) await(ctx context.Context, c *Caller) bool {
	timer := time.NewTimer(d.times.answer)
	defer timer.Stop()
	select {
	case <-c.answered:
		return c.Up()
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// keep holds a stream open for rings. It reports whether the stream ended as it should.
func (d *Door) keep(ctx context.Context, c *Caller) bool {
	alive := time.NewTicker(d.times.alive)
	defer alive.Stop()
	over := time.NewTimer(d.times.ring - mathrand.N(d.times.ring/10))
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			// A stream that we close ends like any other: the device comes back.
			return context.Cause(ctx) == errGaveWay || d.life.Err() != nil
		case <-over.C:
			return true
		case <-alive.C:
			if c.write(ctx, frame{kind: frameNothing}) != nil {
				return false
			}
		}
	}
}

// post puts an envelope on the network.
func (d *Door) post(w http.ResponseWriter, r *http.Request) int {
	_, source := d.asker(r)
	if !d.posters.allow(source, time.Now()) {
		unread(w, r)
		return fail(w, http.StatusTooManyRequests, "too many posts from your network")
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.times.post+d.times.stored)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	place := d.posts.take(source, cancel)
	defer d.posts.free(place)
	env, status := envelope(ctx, w, r, d.maxPost, d.times.post)
	if env == nil {
		return status
	}
	switch err := d.rooms.Post(ctx, env); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return http.StatusNoContent
	case errors.Is(err, ErrUnavailable) || ctx.Err() != nil:
		return fail(w, http.StatusServiceUnavailable, "not now")
	default:
		return fail(w, http.StatusUnprocessableEntity, err.Error())
	}
}
