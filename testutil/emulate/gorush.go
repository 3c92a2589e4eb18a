package emulate

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// GorushConfig configures an emulated gorush server in sync mode.
type GorushConfig struct {
	Addr     string // where to listen; "" is 127.0.0.1 at a free port
	Platform int    // 1 is iOS, 2 is Android; other platforms' notifications fail
}

// Gorush emulates gorush's POST /api/push. As the real one it says 200 and "ok"
// whatever happened, and lists failures as log lines.
type Gorush struct {
	*Service
	platform int
}

// StartGorush listens.
func StartGorush(cfg GorushConfig) (*Gorush, error) {
	g := &Gorush{platform: cfg.Platform}
	mint, by := newFCMToken, fcmRules
	if cfg.Platform == 1 {
		by = apnsRules
		mint = func() string { return strings.Map(hexDigit, text(64)) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/push", g.send)
	var err error
	g.Service, err = listen(cfg.Addr, false, by, vocabulary{text: true, line: true}, mint, mux)
	return g, err
}

// hexDigit turns a character of base64url into a hexadecimal digit.
func hexDigit(c rune) rune { return rune("0123456789abcdef"[c%16]) }

func (g *Gorush) send(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	var request struct {
		Notifications []struct {
			ID         string                     `json:"notif_id"`
			Tokens     []string                   `json:"tokens"`
			Platform   int                        `json:"platform"`
			Message    string                     `json:"message"`
			Priority   string                     `json:"priority"`
			PushType   string                     `json:"push_type"`
			Topic      string                     `json:"topic"`
			CollapseID string                     `json:"collapse_id"`
			Expiration int64                      `json:"expiration"`
			Data       map[string]json.RawMessage `json:"data"`
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
	case failure != "":
	case n.Platform != g.platform || n.Platform == 1 && n.Topic == "":
		failure = "missing credentials"
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
	if failure != "" {
		logs = append(logs, map[string]string{"type": "failed-push", "platform": "", "token": "**********", "message": "", "error": failure})
	}
	reply(w, http.StatusOK, map[string]any{"counts": 1, "logs": logs, "success": "ok"})
}
