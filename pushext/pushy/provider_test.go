package pushy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/providertest"
	"whisperpush/pushext/pushy"
	"whisperpush/testutil/emulatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, change func(*pushy.Config)) (*emulate.Pushy, *pushy.Provider) {
	e, err := emulate.StartPushy(emulate.PushyConfig{TLS: true})
	require.NoError(t, err)
	client := attempt.Client(attempt.Transport(e.ClientTLS(), nil))
	t.Cleanup(func() {
		client.CloseIdleConnections()
		e.Close()
	})
	cfg := pushy.Config{Endpoint: e.URL(), APIKey: e.APIKey(), HTTPClient: client}
	if change != nil {
		change(&cfg)
	}
	p, err := pushy.New(cfg)
	require.NoError(t, err)
	return e, p
}

func notification(token string) pushext.Notification {
	return pushext.Notification{Address: pushext.Address{Token: token}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), TTL: time.Hour, Visible: true, ID: "id"}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
			e, p := start(t, nil)
			return p, &emulatetest.Backend{
				Service: e.Service,
				NewDevice: func() (pushext.Address, string) {
					token := e.NewToken()
					return pushext.Address{Token: token}, token
				},
				Answers: map[providertest.Fault]emulate.Answer{
					providertest.Unavailable: {Code: "INTERNAL_ERROR"},
					providertest.Throttled:   {Code: "RATE_LIMIT_EXCEEDED"},
					providertest.Gone:        {Code: "NO_RECIPIENTS"},
					providertest.Malformed:   {Code: "PAYLOAD_LIMIT_EXCEEDED"},
					providertest.Refused:     {Code: "INVALID_API_KEY"},
					providertest.Garbage:     {Status: 200, Body: []byte("<html>")},
				},
			}
		},
		NoCollapse: true, NoUrgency: true,
		BadAddresses: map[string]pushext.Address{"topic": {Token: "/topics/news"}, "keys": {Token: "a", Keys: [][]byte{{1}}}},
	})
}

func TestPush(t *testing.T) {
	e, p := start(t, nil)
	token := e.NewToken()
	require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "pushy 200"}, p.Push(t.Context(), notification(token)))
	require.JSONEq(t, fmt.Sprintf(`{"to":%q,"data":{"v":2,"p":"c2VhbGVk"},"time_to_live":3600,"content_available":true}`, token), string((<-e.Pushes(token)).Raw))
	n := notification(token)
	n.TTL = 0
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	require.Equal(t, time.Second, (<-e.Pushes(token)).TTL)

	e, p = start(t, func(c *pushy.Config) { c.Fallback = "New message" })
	token = e.NewToken()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class)
	got := <-e.Pushes(token)
	require.True(t, got.Visible)
	require.Contains(t, string(got.Raw), `"notification":{"body":"New message"}`)
	n = notification(token)
	n.Visible = false
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	require.False(t, (<-e.Pushes(token)).Visible)

	e.Unregister(token)
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "pushy 400 NO_RECIPIENTS"}, p.Push(t.Context(), n))
	n.Body = []byte(`{"p":"` + strings.Repeat("x", 4096) + `"}`)
	require.Equal(t, pushext.MessageBad, p.Push(t.Context(), n).Class)
}

func TestKeyStaysSecret(t *testing.T) {
	_, p := start(t, func(c *pushy.Config) { c.APIKey = "CANARYKEY" })
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "pushy 401 INVALID_API_KEY"}, p.Push(t.Context(), notification("abc")))
	_, p = start(t, func(c *pushy.Config) { c.APIKey, c.Endpoint = "CANARYKEY", "http://127.0.0.1:1" })
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "pushy network"}, p.Push(t.Context(), notification("abc")))
	_, err := pushy.New(pushy.Config{APIKey: "CANARYKEY", Endpoint: "nonsense?api_key=CANARYKEY"})
	require.ErrorContains(t, err, `push provider pushy: Endpoint "nonsense?…" is not a URL`)
	require.NotContains(t, err.Error(), "CANARYKEY")
	_, err = pushy.New(pushy.Config{})
	require.ErrorContains(t, err, "APIKey is missing")
}
