package emulate

import (
	"net/http"
	"strings"
	"time"
)

// PushyConfig configures an emulated Pushy.
type PushyConfig struct {
	Addr string // where to listen; "" is 127.0.0.1 at a free port
	TLS  bool   // HTTPS with a certificate authority of its own
}

// Pushy emulates Pushy's Send Notifications API for one app, with one device in a
// request.
type Pushy struct {
	*Service
	key string
}

// StartPushy listens and creates an API key.
func StartPushy(cfg PushyConfig) (*Pushy, error) {
	p := &Pushy{key: text(48)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /push", p.send)
	var err error
	p.Service, err = listen(cfg.Addr, cfg.TLS, rules{}, vocabulary{codes: sorted(pushyStatus), text: true}, func() string { return text(22) }, mux)
	if err != nil {
		return nil, err
	}
	p.serve()
	return p, nil
}

// APIKey returns the app's Secret API Key.
func (p *Pushy) APIKey() string { return p.key }

var pushyStatus = map[string]int{
	"NO_RECIPIENTS": 400, "INVALID_PARAM": 400, "PAYLOAD_LIMIT_EXCEEDED": 400, "INVALID_API_KEY": 401, "RATE_LIMIT_EXCEEDED": 429, "INTERNAL_ERROR": 500,
}

func refusePushy(w http.ResponseWriter, status int, code, text string) {
	if status == 0 {
		status = pushyStatus[code]
	}
	if text == "" {
		text = code
	}
	reply(w, status, map[string]any{"success": false, "code": code, "error": text})
}

var pushyRequest = object(map[string]check{
	"to": str, "data": anything, "time_to_live": integer, "content_available": boolean, "mutable_content": boolean,
	"notification": object(map[string]check{"title": str, "body": str, "badge": integer, "sound": str}),
})

func (p *Pushy) send(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	m, invalid := decode(raw)
	switch {
	case err != nil || invalid != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		refusePushy(w, 0, "INVALID_PARAM", "The request body is not JSON.")
		return
	case r.URL.Query().Get("api_key") != p.key:
		refusePushy(w, 0, "INVALID_API_KEY", "")
		return
	}
	if err := judge(pushyRequest, m); err != nil {
		refusePushy(w, 0, "INVALID_PARAM", err.Error())
		return
	}
	data := m.find("data")
	ttl := 30 * 24 * time.Hour
	if seconds, ok := m.find("time_to_live").whole(); ok {
		ttl = time.Duration(seconds) * time.Second
	}
	switch {
	case data.absent() || m.word("to") == "" || ttl <= 0 || ttl > 365*24*time.Hour:
		refusePushy(w, 0, "INVALID_PARAM", "")
		return
	case len(data.Raw) > 4096:
		refusePushy(w, 0, "PAYLOAD_LIMIT_EXCEEDED", "")
		return
	}
	push := Push{
		At: time.Now(), Token: m.word("to"), ID: text(24), Body: []byte(data.Raw), TTL: ttl, Urgent: true,
		Visible: !m.find("notification").absent(), Header: r.Header, Raw: raw,
	}
	a := p.next(push.Token)
	if a.Accept {
		p.accept(push)
	}
	p.perform(w, r, a)
	switch {
	case a.answered():
	case a.fails():
		refusePushy(w, a.Status, a.Code, a.Message)
	case !p.known(push.Token):
		refusePushy(w, 0, "NO_RECIPIENTS", "We could not find any devices with the token(s) you specified.")
	default:
		if !a.Accept {
			p.accept(push)
		}
		reply(w, http.StatusOK, map[string]any{"success": true, "id": push.ID, "info": map[string]any{"devices": 1}})
	}
}
