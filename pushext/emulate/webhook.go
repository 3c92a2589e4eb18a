package emulate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxSameSecond is how long a repetition with the same timestamp still counts
// as a sender's quick retry.
const maxSameSecond = 3 * time.Second

// WebhookConfig configures a webhook receiver.
type WebhookConfig struct {
	Addr      string        // where to listen; "" is 127.0.0.1 at a free port
	TLS       bool          // HTTPS with a certificate authority of its own
	Tolerance time.Duration // how far a timestamp may be off; 0 is 5 minutes
	// Endpoints exist from the start, with their secrets by the paths of their
	// URLs: an early request to one is not told that it is gone.
	Endpoints map[string][]byte
}

// Webhook receives webhooks and verifies them as the Standard Webhooks
// specification requires: signature, timestamp, and no replays. A repetition of
// an accepted id and body with a newer timestamp is a retry: it is accepted,
// but not delivered again.
type Webhook struct {
	*Service
	tolerance time.Duration

	mu      sync.Mutex // guards the following fields
	secrets map[string][]byte
	seen    map[string]int64 // accepted endpoint, id and body to its timestamp
	repeats int
}

// StartWebhook listens.
func StartWebhook(cfg WebhookConfig) (*Webhook, error) {
	if cfg.Tolerance == 0 {
		cfg.Tolerance = 5 * time.Minute
	}
	h := &Webhook{tolerance: cfg.Tolerance, secrets: make(map[string][]byte), seen: make(map[string]int64)}
	var err error
	h.Service, err = listen(cfg.Addr, cfg.TLS, rules{}, vocabulary{}, func() string { return "/hook/" + text(22) }, http.HandlerFunc(h.receive))
	if err != nil {
		return nil, err
	}
	for path, secret := range cfg.Endpoints {
		h.Register(path)
		h.SetSecret(path, secret)
	}
	h.serve()
	return h, nil
}

// NewEndpoint registers a device. Its pushes are on Pushes(token), where token
// is the URL's path.
func (h *Webhook) NewEndpoint() (url, token string, secret []byte) {
	secret = make([]byte, 32)
	rand.Read(secret) // never fails
	token = h.NewToken()
	h.SetSecret(token, secret)
	return h.URL() + token, token, secret
}

// SetSecret sets the secret with which a device's pushes are signed.
func (h *Webhook) SetSecret(token string, secret []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets[token] = secret
}

// Repeats counts retries of pushes that had been accepted.
func (h *Webhook) Repeats() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repeats
}

func (h *Webhook) receive(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	token := r.URL.Path
	a := h.next(token)
	if a.fails() && !a.Accept {
		h.perform(w, r, a)
		if !a.answered() {
			w.WriteHeader(sayable(a.Status))
		}
		return
	}
	if !h.known(token) {
		http.Error(w, "no such endpoint", http.StatusGone)
		return
	}
	status, fresh := h.verify(r, token, raw)
	if status != http.StatusNoContent {
		http.Error(w, http.StatusText(status), status)
		return
	}
	if fresh {
		ttl, _ := strconv.Atoi(r.Header.Get("TTL"))
		h.accept(Push{
			At: time.Now(), Token: token, ID: r.Header.Get("webhook-id"), Body: raw, CollapseID: r.Header.Get("Topic"),
			TTL: time.Duration(ttl) * time.Second, Urgent: r.Header.Get("Urgency") == "high", Header: r.Header, Raw: raw,
		})
	}
	h.perform(w, r, a)
	if a.answered() {
		return
	}
	if a.Status != 0 {
		status = a.Status
	}
	w.WriteHeader(status)
}

// verify returns 204 for an authentic request, and whether it is new.
func (h *Webhook) verify(r *http.Request, token string, raw []byte) (status int, fresh bool) {
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	switch {
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, false
	case id == "" || strings.Contains(id, ".") || err != nil || !json.Valid(raw):
		return http.StatusBadRequest, false
	case time.Since(time.Unix(seconds, 0)).Abs() > h.tolerance:
		return http.StatusBadRequest, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	mac := hmac.New(sha256.New, h.secrets[token])
	mac.Write([]byte(id + "." + stamp + "." + string(raw)))
	want := mac.Sum(nil)
	authentic := false
	for signature := range strings.FieldsSeq(r.Header.Get("webhook-signature")) {
		if version, encoded, _ := strings.Cut(signature, ","); version == "v1" {
			got, err := base64.StdEncoding.DecodeString(encoded)
			authentic = authentic || err == nil && hmac.Equal(got, want)
		}
	}
	if !authentic {
		return http.StatusUnauthorized, false
	}
	digest := sha256.Sum256(raw)
	message := token + id + string(digest[:])
	last, seen := h.seen[message]
	switch {
	case seen && seconds <= last && time.Since(time.Unix(seconds, 0)) > maxSameSecond:
		return http.StatusConflict, false // a replay: its timestamp is not newer
	case seen:
		h.repeats++
	case len(h.seen) >= maxReceived:
		clear(h.seen) // bounded; a replay is limited by its timestamp as well
	}
	h.seen[message] = seconds
	return http.StatusNoContent, !seen
}
