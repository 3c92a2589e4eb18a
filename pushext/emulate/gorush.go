package emulate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// GorushConfig configures an emulated gorush server.
type GorushConfig struct {
	Addr     string // where to listen; "" is 127.0.0.1 at a free port
	Platform int    // the enabled platform: 1 is iOS, 2 is Android

	Async bool   // core.sync is false: it answers before it sends
	Queue string // queue.engine; "" is "local". With any other, the first push switches sync off
}

// Gorush emulates gorush's POST /api/push and GET /api/config as v1.22.0 answers
// them: with 200 and "ok" whatever happened. In sync mode it lists failures as log
// lines, and otherwise it lists none.
type Gorush struct {
	*Service
	platform int
	queue    string

	mu      sync.Mutex // guards the following fields
	sync    bool
	configs int
}

// StartGorush listens.
func StartGorush(cfg GorushConfig) (*Gorush, error) {
	g := &Gorush{platform: cfg.Platform, queue: cfg.Queue, sync: !cfg.Async}
	if g.queue == "" {
		g.queue = "local"
	}
	mint, by := newFCMToken, fcmRules
	if cfg.Platform == 1 {
		by = apnsRules
		mint = func() string { return strings.Map(hexDigit, text(64)) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/push", g.send)
	mux.HandleFunc("GET /api/config", g.config)
	var err error
	g.Service, err = listen(cfg.Addr, false, by, vocabulary{text: true, line: true}, mint, mux)
	if err != nil {
		return nil, err
	}
	g.serve()
	return g, nil
}

// hexDigit turns a character of base64url into a hexadecimal digit.
func hexDigit(c rune) rune { return rune("0123456789abcdef"[c%16]) }

// SetSync changes core.sync, as a restart with another configuration would.
func (g *Gorush) SetSync(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sync = on
}

// Configs counts the requests for the configuration.
func (g *Gorush) Configs() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.configs
}

// config returns the parts of the configuration that say how to read an answer.
func (g *Gorush) config(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.configs++
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	fmt.Fprintf(w, "core:\n  enabled: true\n  mode: release\n  sync: %v\n  key_path: \"[REDACTED]\"\nandroid:\n  enabled: %v\n  max_retry: 0\nios:\n  enabled: %v\n  max_retry: 0\nqueue:\n  engine: %s\n",
		g.sync, g.platform == 2, g.platform == 1, g.queue)
}

// synchronous reports whether the server sends before it answers. A server whose
// queue is not local does not, and drops the setting.
func (g *Gorush) synchronous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sync = g.sync && g.queue == "local"
	return g.sync
}

func (g *Gorush) send(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	var request struct {
		Notifications []struct {
			ID         string         `json:"notif_id"`
			Tokens     []string       `json:"tokens"`
			Platform   int            `json:"platform"`
			Message    string         `json:"message"`
			Priority   string         `json:"priority"`
			PushType   string         `json:"push_type"`
			Topic      string         `json:"topic"`
			CollapseID string         `json:"collapse_id"`
			Expiration int64          `json:"expiration"`
			Data       map[string]any `json:"data"`
			Android    struct {
				CollapseKey string `json:"collapse_key"`
				TTL         string `json:"ttl"`
			} `json:"android"`
		} `json:"notifications"`
	}
	if err != nil || json.Unmarshal(raw, &request) != nil || len(request.Notifications) != 1 || len(request.Notifications[0].Tokens) != 1 {
		reply(w, http.StatusBadRequest, map[string]any{"code": 400, "message": "one notification for one token is emulated"})
		return
	}
	n := request.Notifications[0]
	if n.Platform == 2 {
		n.Data = overFCM(n.Data)
	}
	body, _ := json.Marshal(n.Data)
	push := Push{
		At: time.Now(), Token: n.Tokens[0], ID: n.ID, Body: body, CollapseID: n.CollapseID + n.Android.CollapseKey,
		Urgent: n.Priority == "high", Visible: n.Message != "", Header: r.Header, Raw: raw,
	}
	if n.Platform == 1 {
		push.TTL = time.Until(time.Unix(n.Expiration, 0)).Round(time.Second)
	} else {
		push.TTL, _ = parseDuration(n.Android.TTL)
	}
	a := g.next(push.Token)
	if a.Accept {
		g.accept(push)
	}
	g.perform(w, r, a)
	failure := a.Message
	switch {
	case a.answered():
		return
	case a.Status != 0:
		reply(w, a.Status, map[string]any{"code": a.Status, "message": a.Message})
		return
	case n.Platform != g.platform:
		reply(w, http.StatusOK, map[string]any{"counts": 0, "logs": []string{}, "success": "ok"})
		return
	case failure != "":
	case n.Platform == 1 && n.Topic == "":
		failure = "MissingTopic"
	case !g.known(push.Token) && n.Platform == 1:
		failure = "Unregistered"
	case !g.known(push.Token):
		failure = "Requested entity was not found."
	default:
		if !a.Accept {
			g.accept(push)
		}
	}
	logs := []map[string]string{}
	if g.synchronous() && failure != "" {
		platform := map[int]string{1: "ios", 2: "android"}[n.Platform]
		logs = append(logs, map[string]string{
			"notif_id": n.ID, "type": "failed-push", "platform": platform, "token": hidden(push.Token), "message": n.Message, "error": failure,
		})
	}
	counts := len(n.Tokens)
	if n.Topic != "" { // on iOS the app's bundle id counts as a target too
		counts++
	}
	reply(w, http.StatusOK, map[string]any{"counts": counts, "logs": logs, "success": "ok"})
}

// overFCM returns the data that reaches an Android app, as fcmMessage.object reads
// it. FCM has only strings, and gorush makes one of each value as it understood it:
// it reads every number as a float.
func overFCM(data map[string]any) map[string]any {
	out := make(map[string]any, len(data))
	for key, value := range data {
		text, ok := value.(string)
		if !ok {
			raw, _ := json.Marshal(value)
			text = string(raw)
		}
		out[key] = text
		if text != "" && strings.ContainsRune("-0123456789[{", rune(text[0])) && json.Valid([]byte(text)) {
			out[key] = json.RawMessage(text)
		}
	}
	return out
}

// hidden returns a token as gorush logs it.
func hidden(token string) string {
	const shown = 10
	if len(token) < 2*shown {
		return strings.Repeat("*", len(token))
	}
	stars := strings.Repeat("*", shown)
	return strings.ReplaceAll(strings.ReplaceAll(token, token[len(token)-shown:], stars), token[:shown], stars)
}
