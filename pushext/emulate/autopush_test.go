package emulate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/webpush"
)

// browser is a connection as Firefox makes it.
type browser struct {
	*websocket.Conn
	t *testing.T
}

func connect(t *testing.T, p *WebPush) browser {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}}
	conn, answer, err := dialer.Dial(p.AgentURL(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.Equal(t, subprotocol, answer.Header.Get("Sec-WebSocket-Protocol"))
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	return browser{conn, t}
}

func (b browser) say(frame string) {
	b.t.Helper()
	require.NoError(b.t, b.WriteMessage(websocket.TextMessage, []byte(frame)))
}

func (b browser) hear() (f map[string]any) {
	b.t.Helper()
	require.NoError(b.t, b.ReadJSON(&f))
	return f
}

// hello sends the first frame of a browser, and returns the browser's id.
func (b browser) hello(uaid string) string {
	b.t.Helper()
	b.say(fmt.Sprintf(`{"messageType":"hello","broadcasts":{"remote-settings/monitor_changes":"\"1\""},"use_webpush":true,"uaid":%q}`, uaid))
	f := b.hear()
	require.Equal(b.t, float64(http.StatusOK), f["status"])
	return f["uaid"].(string)
}

const channel = "8e9e7ee6-3f48-43ac-bc0e-0d6f6a1c2a11"

func startWith(t *testing.T) (*WebPush, *webpush.Provider) {
	t.Helper()
	p, err := StartWebPush(WebPushConfig{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	key, err := webpush.NewKey()
	require.NoError(t, err)
	provider, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:operator@example.org", AllowHTTP: true, AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(provider.Close)
	return p, provider
}

// A browser subscribes, is told of pushes, now or when it is back, until it acknowledges them, and unsubscribes.
func TestBrowser(t *testing.T) {
	p, provider := startWith(t)
	b := connect(t, p)
	uaid := b.hello("")
	padded := provider.PublicKey() + strings.Repeat("=", (4-len(provider.PublicKey())%4)%4)
	b.say(fmt.Sprintf(`{"messageType":"register","channelID":%q,"key":%q}`, channel, padded))
	registered := b.hear()
	require.Equal(t, channel, registered["channelID"])
	endpoint := registered["pushEndpoint"].(string)
	b.say(`{"messageType":"broadcast_subscribe","broadcasts":{"x":"y"}}`)
	b.say(`{}`)
	require.Empty(t, b.hear(), "a ping is answered, broadcasts are not")
	b.say(fmt.Sprintf(`{"messageType":"register","channelID":%q,"key":%q}`, channel, padded))
	require.Equal(t, endpoint, b.hear()["pushEndpoint"], "the same again")
	b.say(fmt.Sprintf(`{"messageType":"register","channelID":%q}`, channel))
	require.Equal(t, float64(http.StatusConflict), b.hear()["status"], "not for another key")

	keys, err := p.Subscribe("") // of which the browser would have the private half
	require.NoError(t, err)
	push := func(ttl time.Duration) pushext.Verdict {
		return provider.Push(t.Context(), pushext.Notification{
			Address: pushext.Address{Token: endpoint, Keys: [][]byte{keys.P256dh, keys.Auth}},
			Body:    []byte(`{"v":2}`), TTL: ttl, ID: "wake-up",
		})
	}
	opens := func(f map[string]any) {
		t.Helper()
		require.Equal(t, "notification", f["messageType"])
		require.Equal(t, channel, f["channelID"])
		require.Equal(t, map[string]any{"encoding": "aes128gcm"}, f["headers"])
		raw, err := base64.RawURLEncoding.DecodeString(f["data"].(string))
		require.NoError(t, err)
		body, err := keys.decrypt(raw)
		require.NoError(t, err)
		require.JSONEq(t, `{"v":2}`, string(body))
	}
	require.Equal(t, pushext.Delivered, push(time.Hour).Class)
	first := b.hear()
	opens(first)

	// It was not acknowledged, and one more comes while the browser is away; one that is for now alone is gone.
	b.Close()
	require.Eventually(t, func() bool { return !p.attended(uaid) }, 10*time.Second, time.Millisecond)
	require.Equal(t, pushext.Delivered, push(time.Hour).Class)
	require.Equal(t, pushext.Delivered, push(0).Class)
	b = connect(t, p)
	require.Equal(t, uaid, b.hello(uaid))
	require.Equal(t, first["version"], b.hear()["version"])
	second := b.hear()
	opens(second)
	b.say(fmt.Sprintf(`{"messageType":"ack","updates":[{"channelID":%q,"version":%q,"code":100},{"channelID":%q,"version":%q,"code":100}]}`,
		channel, first["version"], channel, second["version"]))
	b.say(`{"messageType":"ping"}`)
	require.Empty(t, b.hear())

	again := connect(t, p)
	require.Equal(t, uaid, again.hello(uaid), "another connection of the same browser takes its place")
	_, _, err = b.ReadMessage()
	require.Error(t, err)
	again.say(fmt.Sprintf(`{"messageType":"unregister","channelID":%q,"code":200}`, channel))
	require.Equal(t, "unregister", again.hear()["messageType"], "nothing waits that was acknowledged")
	require.Equal(t, pushext.TokenDead, push(time.Hour).Class)

	forgotten := connect(t, p)
	require.NotEqual(t, uaid, forgotten.hello(strings.Repeat("0", 32)), "one that is not known gets another name")
}

// attended tells whether a browser is there.
func (p *WebPush) attended(uaid string) bool {
	p.mu.Lock()
	a := p.agents[uaid]
	p.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn != nil
}

// hostile are frames that are refused.
func hostile() map[string]string {
	many := slices.Repeat([]string{`{"channelID":"` + channel + `","version":"v"}`}, maxUpdates+1)
	return map[string]string{
		"empty":               ``,
		"no JSON":             `{`,
		"a list":              `[]`,
		"a number":            `1`,
		"two objects":         `{}{}`,
		"no type":             `{"channelID":"` + channel + `"}`,
		"unknown type":        `{"messageType":"purge"}`,
		"type is no text":     `{"messageType":7}`,
		"simple push":         `{"messageType":"hello"}`,
		"uaid of others":      `{"messageType":"hello","use_webpush":true,"uaid":"../../x"}`,
		"uaid in capitals":    `{"messageType":"hello","use_webpush":true,"uaid":"` + strings.Repeat("A", 32) + `"}`,
		"no channel":          `{"messageType":"register"}`,
		"channel in capitals": `{"messageType":"register","channelID":"` + strings.ToUpper(channel) + `"}`,
		"channel and more":    `{"messageType":"register","channelID":"` + channel + `\n"}`,
		"key is no base64":    `{"messageType":"register","channelID":"` + channel + `","key":"!"}`,
		"key is short":        `{"messageType":"register","channelID":"` + channel + `","key":"BAAA"}`,
		"key is off curve":    `{"messageType":"register","channelID":"` + channel + `","key":"` + base64.RawURLEncoding.EncodeToString(append([]byte{4}, make([]byte, 64)...)) + `"}`,
		"unregister nothing":  `{"messageType":"unregister","channelID":""}`,
		"updates are no list": `{"messageType":"ack","updates":{}}`,
		"too many updates":    `{"messageType":"ack","updates":[` + strings.Join(many, ",") + `]}`,
		"long version":        `{"messageType":"ack","updates":[{"channelID":"` + channel + `","version":"` + strings.Repeat("v", maxVersion+1) + `"}]}`,
		"too long":            `{"messageType":"ping","x":"` + strings.Repeat("x", maxFrame) + `"}`,
		"deep":                `{"messageType":"ping","x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	}
}

// A frame that is not of the protocol ends the connection, and the next browser is served.
func TestHostileFrames(t *testing.T) {
	p, err := StartWebPush(WebPushConfig{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			_, err := decodeFrame([]byte(text))
			require.Error(t, err)
			b := connect(t, p)
			b.hello("")
			_ = b.WriteMessage(websocket.TextMessage, []byte(text))
			_, _, err = b.ReadMessage()
			require.Error(t, err)
		})
	}
	for name, say := range map[string]func(browser){
		"not a hello":   func(b browser) { b.say(`{"messageType":"register","channelID":"` + channel + `"}`) },
		"ping at first": func(b browser) { b.say(`{}`) },
		"hello twice": func(b browser) {
			b.hello("")
			b.say(`{"messageType":"hello","use_webpush":true}`)
		},
		"binary": func(b browser) {
			b.hello("")
			require.NoError(t, b.WriteMessage(websocket.BinaryMessage, []byte(`{}`)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := connect(t, p)
			say(b)
			_, _, err := b.ReadMessage()
			require.True(t, websocket.IsCloseError(err, websocket.CloseProtocolError), "%v", err)
		})
	}
	connect(t, p).hello("")
}

func TestBrowsersAreBounded(t *testing.T) {
	p, err := StartWebPush(WebPushConfig{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	b := connect(t, p)
	uaid := b.hello("")
	for i := range maxChannels + 1 {
		b.say(fmt.Sprintf(`{"messageType":"register","channelID":"8e9e7ee6-3f48-43ac-bc0e-%012x"}`, i))
		want := http.StatusOK
		if i == maxChannels {
			want = http.StatusServiceUnavailable
		}
		require.Equal(t, float64(want), b.hear()["status"], i)
	}
	p.mu.Lock()
	a := p.agents[uaid]
	p.mu.Unlock()
	a.mu.Lock()
	s := a.channels["8e9e7ee6-3f48-43ac-bc0e-000000000000"]
	a.mu.Unlock()
	b.Close()
	require.Eventually(t, func() bool { return !p.attended(uaid) }, 10*time.Second, time.Millisecond)
	for i := range 2 * maxUnacked {
		s.deliver(Push{ID: fmt.Sprint(i), TTL: time.Hour})
	}
	require.Len(t, a.unacked, maxUnacked)
	require.Equal(t, fmt.Sprint(maxUnacked), a.unacked[0].Version, "the oldest went")

	for range maxAgents - 1 {
		other := connect(t, p)
		other.hello("")
		other.Close()
	}
	one := connect(t, p)
	one.say(`{"messageType":"hello","use_webpush":true}`)
	_, _, err = one.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseTryAgainLater), "%v", err)
	require.Equal(t, uaid, connect(t, p).hello(uaid), "one that is known is")
}

// Whatever a browser sends, what is taken of it is within limits, and means the same when it is sent again.
func FuzzFrame(f *testing.F) {
	for _, text := range hostile() {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"messageType":"hello","use_webpush":true,"uaid":"` + strings.Repeat("a", 32) + `"}`))
	f.Add([]byte(`{"messageType":"register","channelID":"` + channel + `"}`))
	f.Add([]byte(`{"messageType":"ack","updates":[{"channelID":"` + channel + `","version":"v"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, err := decodeFrame(raw)
		if err != nil {
			require.Empty(t, frame)
			return
		}
		require.NotEmpty(t, frame.Type)
		require.LessOrEqual(t, len(frame.Updates), maxFrame)
		if frame.Type == frameRegister {
			require.Regexp(t, channelForm, frame.Channel)
		}
		text, err := json.Marshal(frame)
		require.NoError(t, err)
		if len(text) > maxFrame {
			return // escapes are longer
		}
		again, err := decodeFrame(text)
		require.NoError(t, err)
		require.Equal(t, frame, again)
	})
}
