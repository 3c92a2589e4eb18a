package emulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

const (
	fcmMaxPayload = 4096           // bytes: keys and values of data, and the notification
	fcmMaxTTL     = 28 * 24 * 3600 // seconds
	fcmMessaging  = "firebase.messaging"
)

// fcmSend is the request of projects.messages.send, FCM HTTP v1 reference.
var fcmSend = object(map[string]check{
	"validate_only": boolean,
	"message": object(map[string]check{
		"name":         str,
		"token":        str,
		"topic":        str,
		"condition":    str,
		"data":         strMap,
		"notification": object(map[string]check{"title": str, "body": str, "image": str}),
		"fcm_options":  fcmOptions,
		"android": object(map[string]check{
			"collapse_key":             str,
			"priority":                 enum("NORMAL", "HIGH", "normal", "high"),
			"ttl":                      duration,
			"restricted_package_name":  str,
			"data":                     strMap,
			"fcm_options":              fcmOptions,
			"direct_boot_ok":           boolean,
			"bandwidth_constrained_ok": boolean,
			"restricted_satellite_ok":  boolean,
			"notification": object(map[string]check{
				"title": str, "body": str, "icon": str, "color": str, "sound": str, "tag": str, "click_action": str,
				"body_loc_key": str, "body_loc_args": list(str), "title_loc_key": str, "title_loc_args": list(str),
				"channel_id": str, "ticker": str, "sticky": boolean, "event_time": str, "local_only": boolean,
				"notification_priority": str, "default_sound": boolean, "default_vibrate_timings": boolean,
				"default_light_settings": boolean, "vibrate_timings": list(duration), "visibility": str,
				"notification_count": integer, "light_settings": anything, "image": str, "proxy": str,
				"bypass_proxy_notification": boolean,
			}),
		}),
		"webpush": object(map[string]check{
			"headers": strMap, "data": strMap, "notification": anything,
			"fcm_options": object(map[string]check{"link": str, "analytics_label": str}),
		}),
		"apns": object(map[string]check{
			"headers": strMap, "payload": anything, "live_activity_token": str,
			"fcm_options": object(map[string]check{"analytics_label": str, "image": str}),
		}),
	}),
})

var fcmOptions = object(map[string]check{"analytics_label": str})

// fcmToken is the form of a registration token: an installation id and a secret.
func fcmToken(token string) bool {
	id, secret, ok := strings.Cut(token, ":")
	return ok && len(id) == 22 && len(secret) >= 100 && len(secret) <= 300 && base64URL(id) && base64URL(secret)
}

// base64URL reports whether all characters are of the alphabet of base64url.
func base64URL(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func newFCMToken() string { return text(22) + ":APA91b" + text(134) }

// fcmMessage is what the emulator needs of an accepted request.
type fcmMessage struct {
	token        string
	data         map[string]string
	collapseKey  string
	ttl          time.Duration
	high         bool
	visible      bool // has a notification that the platform shows
	validateOnly bool
}

// parseFCM reads a request as strictly as FCM does. The error is the text of
// the INVALID_ARGUMENT answer.
func parseFCM(raw []byte) (fcmMessage, error) {
	v, err := decode(raw)
	if err != nil {
		return fcmMessage{}, fmt.Errorf("Invalid JSON payload received: %w", err)
	}
	if err := fcmSend("", v); err != nil {
		return fcmMessage{}, err
	}
	root := member(v, "")
	message := member(root, "message")
	if message == nil {
		return fcmMessage{}, errors.New("The message is missing")
	}
	android := member(message, "android")
	m := fcmMessage{
		token:       word(message, "token"),
		collapseKey: word(android, "collapse_key"),
		high:        strings.EqualFold(word(android, "priority"), "high"),
		visible:     message["notification"] != nil || android["notification"] != nil,
		ttl:         fcmMaxTTL * time.Second,
	}
	m.validateOnly, _ = find(root, "validate_only").(bool)
	if word(message, "topic") != "" || word(message, "condition") != "" {
		return fcmMessage{}, errors.New("Recipient of the message must be a token here: topics and conditions are not emulated")
	}
	if m.token == "" {
		return fcmMessage{}, errors.New("Recipient of the message is not set.")
	}
	if !fcmToken(m.token) {
		return fcmMessage{}, errFCMToken
	}
	if ttl := word(android, "ttl"); ttl != "" {
		m.ttl, _ = parseDuration(ttl) // its form was checked
		if m.ttl > fcmMaxTTL*time.Second {
			return fcmMessage{}, errors.New("Invalid value (TTL): it must be between 0 and 2419200 seconds")
		}
	}
	data := member(message, "data")
	if over := member(android, "data"); over != nil {
		data = over
	}
	size := 0
	m.data = make(map[string]string, len(data))
	for key, value := range data {
		if fcmReserved(key) {
			return fcmMessage{}, fmt.Errorf("Invalid data payload key: %s", key)
		}
		m.data[key] = value.(string) // checked by strMap
		size += len(key) + len(m.data[key])
	}
	for _, shown := range []any{message["notification"], android["notification"]} {
		if shown != nil {
			encoded, _ := json.Marshal(shown)
			size += len(encoded)
		}
	}
	if size > fcmMaxPayload {
		return fcmMessage{}, errors.New("Android message is too big")
	}
	return m, nil
}

var errFCMToken = errors.New("The registration token is not a valid FCM registration token")

// fcmReserved reports whether FCM keeps a data key for itself.
func fcmReserved(key string) bool {
	return key == "" || key == "from" || key == "message_type" || strings.HasPrefix(key, "gcm") || strings.HasPrefix(key, "google")
}

// find returns a member under its proto or its JSON name.
func find(m map[string]any, name string) any {
	for k, v := range m {
		if snake(k) == name {
			return v
		}
	}
	return nil
}

// member returns an object's member that is an object; of any value with name "".
func member(v any, name string) map[string]any {
	m, _ := v.(map[string]any)
	if name == "" {
		return m
	}
	m, _ = find(m, name).(map[string]any)
	return m
}

func word(m map[string]any, name string) string {
	s, _ := find(m, name).(string)
	return s
}

// object rebuilds the JSON object that a sender flattened into FCM's strings:
// a number, list or object is carried as its JSON text.
func (m fcmMessage) object() []byte {
	out := []byte{'{'}
	for i, key := range slices.Sorted(maps.Keys(m.data)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(gjson.AppendJSONString(out, key), ':')
		value := m.data[key]
		if value != "" && strings.ContainsRune("-0123456789[{", rune(value[0])) && json.Valid([]byte(value)) {
			out = append(out, value...)
		} else {
			out = gjson.AppendJSONString(out, value)
		}
	}
	return append(out, '}')
}
