package emulate

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// HMSConfig configures an emulated HUAWEI Push Kit.
type HMSConfig struct {
	Addr string // where to listen; "" is 127.0.0.1 at a free port
	TLS  bool   // HTTPS with a certificate authority of its own
}

// HMS emulates Push Kit for one app, and the OAuth endpoint that issues access
// tokens for the app's secret.
type HMS struct {
	*Service
	grants
	appID, secret string

	mu        sync.Mutex // guards the following fields
	access    map[string]time.Time
	exchanges int
}

// StartHMS listens and creates an app.
func StartHMS(cfg HMSConfig) (*HMS, error) {
	h := &HMS{appID: "100000001", secret: text(64), access: make(map[string]time.Time)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/v3/token", h.exchange)
	mux.HandleFunc("POST /v1/{app}/{method}", h.send)
	var err error
	h.Service, err = listen(cfg.Addr, cfg.TLS, rules{}, vocabulary{codes: hmsCodes, text: true}, func() string { return "IQAAAA" + text(122) }, mux)
	if err != nil {
		return nil, err
	}
	h.serve()
	return h, nil
}

// hmsCodes are Push Kit's result codes.
var hmsCodes = []string{
	"80100000", "80100001", "80100003", "80100004", "80200001", "80200003", "80300002", "80300007", "80300008", "80300010",
	"80300011", "80600003", "81000001",
}

// AppID and AppSecret return the app's credentials.
func (h *HMS) AppID() string     { return h.appID }
func (h *HMS) AppSecret() string { return h.secret }

// TokenURL returns the URL of the OAuth endpoint.
func (h *HMS) TokenURL() string { return h.url + "/oauth2/v3/token" }

// Exchanges counts the access tokens issued.
func (h *HMS) Exchanges() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exchanges
}

// RevokeAccess expires every access token issued so far.
func (h *HMS) RevokeAccess() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.access)
}

func (h *HMS) exchange(w http.ResponseWriter, r *http.Request) {
	if h.grants.refuse(h.Service, w, r) {
		return
	}
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" ||
		r.PostForm.Get("client_id") != h.appID || r.PostForm.Get("client_secret") != h.secret {
		reply(w, http.StatusBadRequest, map[string]any{"error": 1101, "sub_error": 20001, "error_description": "invalid client"})
		return
	}
	token := text(120)
	h.mu.Lock()
	h.access[token] = time.Now().Add(time.Hour)
	h.exchanges++
	h.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
}

// hmsMessage is the part of Push Kit's send request that a data message uses.
var hmsMessage = object(map[string]check{
	"validate_only": boolean,
	"message": object(map[string]check{
		"data":  str,
		"token": list(str),
		"android": object(map[string]check{
			"collapse_key": integer, "urgency": enum("HIGH", "NORMAL"), "category": str, "ttl": duration, "bi_tag": str, "fast_app_target": integer, "data": str,
		}),
	}),
})

func hmsToken(token string) bool { return len(token) >= 100 && len(token) <= 200 && base64URL(token) }

func refuseHMS(w http.ResponseWriter, status int, code, msg string) {
	reply(w, status, map[string]string{"code": code, "msg": msg, "requestId": text(24)})
}

func (h *HMS) authorised(r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	expiry, ok := h.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	return ok && time.Now().Before(expiry)
}

func (h *HMS) send(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	switch {
	case err != nil:
		refuseHMS(w, http.StatusBadRequest, "80300008", "The message body size exceeds the default value")
		return
	case !h.authorised(r):
		refuseHMS(w, http.StatusUnauthorized, "80200003", "OAuth token expired")
		return
	case r.PathValue("app") != h.appID || r.PathValue("method") != "messages:send":
		refuseHMS(w, http.StatusForbidden, "80300002", "No permission to send message to these tokens")
		return
	}
	push, code, err := h.read(r, raw)
	if err != nil {
		refuseHMS(w, http.StatusBadRequest, code, err.Error())
		return
	}
	a := h.next(push.Token)
	if a.Accept {
		h.accept(push)
	}
	h.perform(w, r, a)
	switch {
	case a.answered():
	case a.fails():
		status := a.Status
		if status == 0 {
			status = http.StatusOK // Push Kit's errors are in the code
		}
		refuseHMS(w, status, a.Code, a.Message)
	case !h.known(push.Token):
		refuseHMS(w, http.StatusOK, "80300007", "All the tokens are invalid")
	default:
		if !a.Accept {
			h.accept(push)
		}
		refuseHMS(w, http.StatusOK, "80000000", "Success")
	}
}

// read checks a request. code is set with an error.
func (h *HMS) read(r *http.Request, raw []byte) (p Push, code string, err error) {
	root, err := decode(raw)
	if err != nil {
		return p, "80100003", fmt.Errorf("Incorrect message structure: %w", err)
	}
	if err := judge(hmsMessage, root); err != nil {
		return p, "80100003", fmt.Errorf("Incorrect message structure: %w", err)
	}
	message := root.find("message")
	android := message.find("android")
	tokens := message.find("token").items
	body := message.word("data")
	switch {
	case len(tokens) != 1:
		return p, "80100001", fmt.Errorf("one token a message is emulated, not %d", len(tokens))
	case !hmsToken(tokens[0].Str): // checked by list(str)
		return p, "80300007", fmt.Errorf("All the tokens are invalid")
	case len(body) > 4096:
		return p, "80300008", fmt.Errorf("The message body size exceeds the default value")
	case body == "":
		return p, "80100003", fmt.Errorf("Incorrect message structure: no data")
	}
	ttl := 24 * time.Hour
	if text := android.word("ttl"); text != "" {
		if ttl, _ = parseDuration(text); ttl <= 0 || ttl > 15*24*time.Hour {
			return p, "80100004", fmt.Errorf("Incorrect message time to live")
		}
	}
	collapse := ""
	if key := android.find("collapse_key"); !key.absent() {
		if k, ok := key.whole(); !ok || k < -1 || k > 100 {
			return p, "80100001", fmt.Errorf("collapse_key must be -1 to 100")
		}
		collapse = key.Raw
	}
	return Push{
		At: time.Now(), Token: tokens[0].Str, ID: text(24), Body: []byte(body), CollapseID: collapse, TTL: ttl,
		Urgent: android.word("urgency") == "HIGH", Header: r.Header, Raw: raw,
	}, "", nil
}
