package fcm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/appleboy/gorush/core"
	"github.com/appleboy/gorush/notify"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
)

// TestMessageIsGorushs compares each message with what gorush's builder and
// Firebase's encoder make of the same notification.
func TestMessageIsGorushs(t *testing.T) {
	sealed := `"` + strings.Repeat("A/+=", 340) + `"`
	bodies := map[string]map[string]any{
		`{"v":2,"p":` + sealed + `}`:                                        {"v": "2", "p": strings.Trim(sealed, `"`)},
		`{"v":2,"k":1,"s":7,"h":["0x00","0x01"],"m":true}`:                  {"v": "2", "k": "1", "s": "7", "h": `["0x00","0x01"]`, "m": "true"},
		` { "a\"b" : "c\u00e9\n<&>" , "@data@" : "@token@" , "n" : null } `: {`a"b`: "cé\n<&>", "@data@": "@token@", "n": "null"},
		`{}`: {},
	}
	var f frames
	for body, data := range bodies {
		for _, token := range []string{"token", "@collapse@", `to"k\en<é>`} {
			for _, collapse := range []string{"", "id", "@data@", `"`} {
				for i, ttl := range []time.Duration{0, time.Minute, 28 * 24 * time.Hour, 1000 * time.Hour} {
					n := pushext.Notification{Address: pushext.Address{Token: token}, Body: []byte(body), CollapseID: collapse, TTL: ttl, Urgent: i%2 == 0}
					got, err := f.message(n)
					require.NoError(t, err)
					ttl := min(ttl, MaxTTL)
					priority := map[bool]string{true: "high", false: "normal"}[n.Urgent]
					messages := notify.GetAndroidNotification(&notify.PushNotification{
						Platform: core.PlatFormAndroid, Tokens: []string{token}, Data: data,
						Android: &messaging.AndroidConfig{CollapseKey: collapse, Priority: priority, TTL: &ttl},
					})
					want, err := json.Marshal(map[string]any{"message": messages[0]})
					require.NoError(t, err)
					if len(data) == 0 {
						got = []byte(strings.Replace(string(got), `"data":{},`, "", 1)) // the same to FCM
					}
					require.JSONEq(t, string(want), string(got))
				}
			}
		}
	}
	require.LessOrEqual(t, len(f.known), maxFrames)
	for i := range 3 * maxFrames {
		_, err := f.message(pushext.Notification{Body: []byte(`{}`), TTL: time.Duration(i) * time.Hour})
		require.NoError(t, err)
		require.LessOrEqual(t, len(f.known), maxFrames)
	}
}

func TestMessageRefusesWhatFCMReserves(t *testing.T) {
	var f frames
	for _, body := range []string{`{"from":1}`, `{"google.x":1}`, `{"gcm":1}`, `{"message_type":1}`, `{"":1}`, ``, `null`, `[]`, `{"a":1`, `{"a":1}x`, `"x"`} {
		_, err := f.message(pushext.Notification{Body: []byte(body)})
		require.Error(t, err, fmt.Sprintf("%q", body))
	}
}

func TestMessageAllocations(t *testing.T) {
	var f frames
	n := pushext.Notification{Address: pushext.Address{Token: "token"}, Body: []byte(`{"v":2,"p":"AAAA"}`), CollapseID: "id", TTL: time.Hour}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, err := f.message(n); err != nil {
			t.Fatal(err)
		}
	}), 8.0)
}
