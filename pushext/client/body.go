package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

const (
	// maxPush bounds what a platform hands to the app: a body of at most 4096 bytes,
	// as a string within a string, and what the platform adds.
	maxPush = 16 << 10
	// maxWrapped is how many objects a platform may wrap around a body.
	maxWrapped = 3
)

// ErrNotOurs says that a push is not from a mailserver. An app that also gets pushes
// from other senders hands each push to Receive first, and handles itself those that
// are ErrNotOurs.
var ErrNotOurs = errors.New("client: not a push of a mailserver")

// members are the members of a body; see docs/protocol.md.
var members = [...]string{"v", "p", "k", "s", "m", "h", "c", "b", "a"}

// wrappers are the members in which platforms put a body, as an object or as a string
// that holds the object.
var wrappers = [...]string{"data", "message", "payload", "custom"}

// FromFCM returns the body of a push that came as a data message of Firebase, which
// turns every value into a string: RemoteMessage.getData() on Android, the message's
// data in Flutter and React Native. Data messages from gorush have the same form.
func FromFCM(data map[string]string) ([]byte, error) {
	all := make(map[string]json.RawMessage, len(data))
	for name, value := range data {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("client: member %.20q of a push: %w", name, err)
		}
		all[name] = text
	}
	return find(all, 0)
}

// FromAPNs returns the body of a push that came through Apple, from the userInfo of
// the notification's content as JSON (JSONSerialization.data(withJSONObject:)). The
// body's members stand beside aps.
func FromAPNs(userInfo []byte) ([]byte, error) { return unwrap(userInfo) }

// FromHMS returns the body of a push that came through Huawei:
// RemoteMessage.getData(), a string.
func FromHMS(data string) ([]byte, error) { return unwrap([]byte(data)) }

// FromPushy returns the body of a push that came through Pushy, from the JSON of its
// data.
func FromPushy(data []byte) ([]byte, error) { return unwrap(data) }

// FromWebPush returns the body of a push that came by Web Push or UnifiedPush:
// event.data in a service worker, or the message of UnifiedPush's connector, both
// already decrypted.
func FromWebPush(data []byte) ([]byte, error) { return unwrap(data) }

// FromWebhook returns the body of a push that came as the body of a webhook.
func FromWebhook(body []byte) ([]byte, error) { return unwrap(body) }

// unwrap finds a body in the JSON that a platform hands to an app.
func unwrap(push []byte) ([]byte, error) {
	if len(push) > maxPush {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrNotOurs, len(push), maxPush)
	}
	return unwrapped(push, 0)
}

func unwrapped(push []byte, depth int) ([]byte, error) {
	push = bytes.TrimSpace(push)
	if len(push) > 0 && push[0] == '"' {
		var text string
		if err := json.Unmarshal(push, &text); err != nil {
			return nil, fmt.Errorf("%w: it is no JSON", ErrNotOurs)
		}
		push = []byte(text)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(push, &all); err != nil {
		return nil, fmt.Errorf("%w: it is no JSON object", ErrNotOurs)
	}
	return find(all, depth)
}

// find returns the members of a body from among others, or those of a wrapped body.
func find(all map[string]json.RawMessage, depth int) ([]byte, error) {
	if _, ok := all["v"]; ok {
		body := make(map[string]json.RawMessage, len(members))
		for _, name := range members {
			if value, ok := all[name]; ok {
				body[name] = value
			}
		}
		return json.Marshal(body)
	}
	for _, name := range wrappers {
		if inner, ok := all[name]; ok && depth < maxWrapped {
			if body, err := unwrapped(inner, depth+1); err == nil {
				return body, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: it has no version, the member v", ErrNotOurs)
}
