package client

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
)

// What each platform makes of a body, and hands to the app, opens to the same.
func TestBodyOfEveryPlatform(t *testing.T) {
	private, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	messages := pushwire.Payload{Kind: pushwire.Messages, Seq: 1<<53 + 1, More: true, Hashes: make([]common.Hash, 2)}
	sealed, err := pushwire.SealPayload(messages, public)
	require.NoError(t, err)
	inPlain, err := pushwire.PlainPayload(messages)
	require.NoError(t, err)
	challenge := pushwire.Payload{Kind: pushwire.Challenge, Code: make([]byte, pushwire.CodeSize), Server: make([]byte, 33), Account: make([]byte, 33)}
	challenged, err := pushwire.PlainPayload(challenge)
	require.NoError(t, err)

	quoted := func(body []byte) string { b, _ := json.Marshal(string(body)); return string(b) }
	// strings is what FCM makes of a body: every value is a string.
	stringly := func(body []byte) map[string]string {
		var all map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &all))
		data := make(map[string]string)
		for name, value := range all {
			if data[name] = string(value); value[0] == '"' {
				data[name] = strings.Trim(string(value), `"`)
			}
		}
		return data
	}
	with := func(body []byte, more string) []byte {
		return []byte(strings.TrimSuffix(string(body), "}") + "," + more + "}")
	}
	for name, open := range map[string]func(body []byte) ([]byte, error){
		"fcm": func(b []byte) ([]byte, error) {
			data := stringly(b)
			data["google.sent_time"], data["from"] = "1", "123456"
			return FromFCM(data)
		},
		"fcm, data in data": func(b []byte) ([]byte, error) { return FromFCM(map[string]string{"data": string(b)}) },
		"fcm, map as JSON":  func(b []byte) ([]byte, error) { j, _ := json.Marshal(stringly(b)); return FromAPNs(j) },
		"apns": func(b []byte) ([]byte, error) {
			return FromAPNs(with(b, `"aps":{"alert":"New message","mutable-content":1}`))
		},
		"apns, under data":    func(b []byte) ([]byte, error) { return FromAPNs(fmt.Appendf(nil, `{"aps":{},"data":%s}`, b)) },
		"hms":                 func(b []byte) ([]byte, error) { return FromHMS(string(b)) },
		"hms, remote message": func(b []byte) ([]byte, error) { return FromHMS(fmt.Sprintf(`{"message":{"data":%s}}`, quoted(b))) },
		"pushy":               FromPushy,
		"web push":            FromWebPush,
		"web push, as text":   func(b []byte) ([]byte, error) { return FromWebPush([]byte(quoted(b))) },
		"web-hook":            FromWebhook,
		"with white space":    func(b []byte) ([]byte, error) { return FromWebhook(append([]byte("\n "), b...)) },
	} {
		t.Run(name, func(t *testing.T) {
			body, err := open(sealed)
			require.NoError(t, err)
			got, err := pushwire.OpenPayload(body, private)
			require.NoError(t, err)
			require.Equal(t, messages, got)
			for want, b := range map[*pushwire.Payload][]byte{&messages: inPlain, &challenge: challenged} {
				body, err = open(b)
				require.NoError(t, err)
				got, err = pushwire.OpenPayload(body, nil)
				require.NoError(t, err)
				require.Equal(t, *want, got)
			}
		})
	}
}

func TestBodyOfOthers(t *testing.T) {
	for _, push := range []string{
		"", "null", "[]", "1", `"`, "hello", `{"aps":{"alert":"Sale!"}}`, `{"data":1}`, `{"data":{"data":{"data":{"data":{"v":2}}}}}`,
		`{"message":"{"}`, strings.Repeat(" ", maxPush+1),
	} {
		_, err := FromAPNs([]byte(push))
		require.ErrorIs(t, err, ErrNotOurs, "%.40q", push)
	}
	_, err := FromFCM(map[string]string{"title": "Sale!"})
	require.ErrorIs(t, err, ErrNotOurs)
}

// Receive takes what a platform hands over as well, and says of a push of others that
// it is one.
func TestReceiveUnwraps(t *testing.T) {
	s := startScripted(t)
	d := s.open(t, nil)
	body, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Canary}, d.state.SealPublicKey)
	require.NoError(t, err)
	event, err := d.Receive(t.Context(), fmt.Appendf(nil, `{"aps":{},"data":%s}`, body))
	require.NoError(t, err)
	require.Equal(t, pushwire.Canary, event.Kind)
	_, err = d.Receive(t.Context(), []byte(`{"aps":{"alert":"Sale!"}}`))
	require.ErrorIs(t, err, ErrNotOurs)
	require.Empty(t, s.seen())
}

func FuzzUnwrap(f *testing.F) {
	f.Add([]byte(`{"aps":{},"data":{"v":2,"p":"x"}}`))
	f.Add([]byte(`{"message":{"data":"{\"v\":\"2\",\"k\":\"4\"}"}}`))
	f.Add([]byte(`"{\"v\":2}"`))
	f.Fuzz(func(t *testing.T, push []byte) {
		body, err := unwrap(push)
		if err != nil {
			require.ErrorIs(t, err, ErrNotOurs)
			return
		}
		again, err := unwrap(body)
		require.NoError(t, err)
		require.JSONEq(t, string(body), string(again))
	})
}
