package emulate

import (
	"errors"
	"fmt"
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

// fcmSend is the request of projects.messages.send, as in the FCM HTTP v1
// reference.
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

// fcmToken checks the form of a registration token: an installation id and a
// secret.
func fcmToken(token string) bool {
	id, secret, ok := strings.Cut(token, ":")
	return ok && len(id) == 22 && len(secret) >= 100 && len(secret) <= 300 && base64URL(id) && base64URL(secret)
}

// base64URL reports whether all characters belong to the base64url alphabet.
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

// fcmMessage is what the emulator needs from an accepted request.
type fcmMessage struct {
	token        string
	data         []member // strings
	collapseKey  string
	ttl          time.Duration
	high         bool
	visible      bool // has a notification that the platform shows
	validateOnly bool
}

// parseFCM reads a request as strictly as FCM does. The error is the text of
// the INVALID_ARGUMENT answer.
func parseFCM(raw []byte) (fcmMessage, error) {
	root, err := decode(raw)
	if err != nil {
		return fcmMessage{}, fmt.Errorf("Invalid JSON payload received: %w", err)
	}
	if err := judge(fcmSend, root); err != nil {
		return fcmMessage{}, err
	}
	message := root.find("message")
	if message.absent() {
		return fcmMessage{}, errors.New("The message is missing")
	}
	android := message.find("android")
	shown := [2]value{message.find("notification"), android.find("notification")}
	m := fcmMessage{
		token:        message.word("token"),
		collapseKey:  android.word("collapse_key"),
		high:         strings.EqualFold(android.word("priority"), "high"),
		visible:      !shown[0].absent() || !shown[1].absent(),
		ttl:          fcmMaxTTL * time.Second,
		validateOnly: root.find("validate_only").Bool(),
	}
	if message.word("topic") != "" || message.word("condition") != "" {
		return fcmMessage{}, errors.New("Recipient of the message must be a token here: topics and conditions are not emulated")
	}
	if m.token == "" {
		return fcmMessage{}, errors.New("Recipient of the message is not set.")
	}
	if !fcmToken(m.token) {
		return fcmMessage{}, errFCMToken
	}
	if ttl := android.word("ttl"); ttl != "" {
		m.ttl, _ = parseDuration(ttl) // its form was checked
		if m.ttl > fcmMaxTTL*time.Second {
			return fcmMessage{}, errors.New("Invalid value (TTL): it must be between 0 and 2419200 seconds")
		}
	}
	data := message.find("data")
	if over := android.find("data"); !over.absent() {
		data = over
	}
	size := 0
	m.data = data.members
	for _, d := range m.data {
		if fcmReserved(d.name) {
			return fcmMessage{}, fmt.Errorf("Invalid data payload key: %s", d.name)
		}
		size += len(d.name) + len(d.Str)
	}
	for _, s := range shown {
		size += len(s.Raw)
	}
	if size > fcmMaxPayload {
		return fcmMessage{}, errors.New("Android message is too big")
	}
	return m, nil
}

var errFCMToken = errors.New("The registration token is not a valid FCM registration token")

// fcmReserved reports whether FCM reserves a data key.
func fcmReserved(key string) bool {
	return key == "" || key == "from" || key == "message_type" || strings.HasPrefix(key, "gcm") || strings.HasPrefix(key, "google")
}

// object rebuilds the JSON object that a sender flattened into FCM's strings,
// where a number, list or object is carried as its JSON text.
func (m fcmMessage) object() []byte {
	size := 2
	for _, d := range m.data {
		size += len(d.name) + len(d.Raw) + 4
	}
	out := append(make([]byte, 0, size), '{')
	slices.SortStableFunc(m.data, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i, d := range m.data {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(gjson.AppendJSONString(out, d.name), ':')
		switch {
		case d.Str != "" && strings.ContainsRune("-0123456789[{", rune(d.Str[0])) && gjson.Valid(d.Str):
			out = append(out, d.Str...)
		case len(d.Raw) == len(d.Str)+len(`""`): // it has no escapes
			out = append(out, d.Raw...)
		default:
			out = gjson.AppendJSONString(out, d.Str)
		}
	}
	return append(out, '}')
}
