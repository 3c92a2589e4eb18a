package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/notify"
	"github.com/tidwall/gjson"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/pushwire"
)

// shape is everything in a message except its token, collapse key and data.
type shape struct {
	urgent, collapsible bool
	ttl                 time.Duration
}

// maxFrames bounds the shapes remembered: a server has one TTL, or a few.
const maxFrames = 16

// frames keeps the JSON of messages by shape. gorush's builder and Firebase's
// encoder make it once, with a mark at each place where messages differ; each
// message's own values replace the marks. Encoding every message would take half as
// long as posting it.
type frames struct {
	mu    sync.Mutex
	known map[shape]frame
}

// frame is a message's JSON, cut where values are inserted.
type frame struct {
	text  []string // one more than slots
	slots []slot
}

type slot int

const (
	slotToken slot = iota
	slotCollapse
	slotData
)

// marks stand for the inserted values in a frame, as they appear in JSON.
var marks = [...]string{slotToken: `"@token@"`, slotCollapse: `"@collapse@"`, slotData: `"@data@":"@data@"`}

// message encodes the request of projects.messages.send. Its errors may be used as Verdict.Reason.
func (f *frames) message(n pushext.Notification) ([]byte, error) {
	s := shape{urgent: n.Urgent, ttl: min(max(n.TTL, 0), MaxTTL)}
	// No key if there is nothing to replace, because collapsible messages are throttled.
	s.collapsible = n.CollapseID != "" && !n.Unreplaced
	frame, err := f.frame(s)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(n.Body)+len(n.Address.Token)+256)
	for i, slot := range frame.slots {
		out = append(out, frame.text[i]...)
		switch slot {
		case slotToken:
			out = gjson.AppendJSONString(out, n.Address.Token)
		case slotCollapse:
			out = gjson.AppendJSONString(out, n.CollapseID)
		case slotData:
			if out, err = appendBody(out, n.Body); err != nil {
				return nil, err
			}
		}
	}
	return append(out, frame.text[len(frame.slots)]...), nil
}

func (f *frames) frame(s shape) (frame, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.known[s]; ok {
		return known, nil
	}
	made, err := newFrame(s)
	if err != nil {
		return frame{}, err
	}
	if f.known == nil || len(f.known) == maxFrames {
		f.known = make(map[shape]frame)
	}
	f.known[s] = made
	return made, nil
}

// request is the body of projects.messages.send.
type request struct {
	Message *messaging.Message `json:"message"`
}

// newFrame has gorush build a message of marks and cuts its JSON at them.
func newFrame(s shape) (frame, error) {
	content := func(slot slot) string { return strings.Trim(marks[slot], `"`) }
	android := &messaging.AndroidConfig{Priority: "normal", TTL: &s.ttl}
	if s.urgent {
		android.Priority = "high"
	}
	if s.collapsible {
		android.CollapseKey = content(slotCollapse)
	}
	messages := notify.GetAndroidNotification(&notify.PushNotification{
		Platform: core.PlatFormAndroid,
		Tokens:   []string{content(slotToken)},
		Data:     notify.D{"@data@": "@data@"},
		Android:  android,
	})
	raw, err := json.Marshal(request{messages[0]})
	if err != nil {
		return frame{}, errors.New("message cannot be encoded")
	}
	type place struct {
		slot
		at int
	}
	var places []place
	for i, mark := range marks {
		if at := strings.Index(string(raw), mark); at >= 0 {
			places = append(places, place{slot(i), at})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return a.at - b.at })
	var made frame
	end := 0
	for _, p := range places {
		made.text = append(made.text, string(raw[end:p.at]))
		made.slots = append(made.slots, p.slot)
		end = p.at + len(marks[p.slot])
	}
	made.text = append(made.text, string(raw[end:]))
	return made, nil
}

// appendBody appends the members of a body as those of FCM's data object.
func appendBody(out, body []byte) ([]byte, error) {
	if sealed, ok := pushwire.SealedPart(body); ok { // nearly all are
		return append(append(out, sealedHead...), sealed...), nil
	}
	members, err := attempt.Members(body)
	if err != nil {
		return nil, err
	}
	return appendData(out, members)
}

// sealedHead is what comes before the sealed payload in FCM's data object.
var sealedHead = fmt.Sprintf(`"v":"%d","p":`, pushwire.Version)

// appendData appends the members of a body as those of FCM's data object, which has
// strings only: a number or list is carried as its text. The brackets around them
// are not part of it.
func appendData(out []byte, members map[string]json.RawMessage) ([]byte, error) {
	first := true
	for key, value := range members {
		if key == "" || key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm") {
			return nil, errors.New("body has a reserved key")
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(gjson.AppendJSONString(out, key), ':')
		if value[0] == '"' {
			out = append(out, value...) // the sealed payload, by far the longest
		} else {
			out = gjson.AppendJSONString(out, string(value))
		}
	}
	return out, nil
}
