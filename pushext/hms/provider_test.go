package hms_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/hms"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB) (*emulate.HMS, *hms.Provider, *http.Client) {
	e, err := emulate.StartHMS(emulate.HMSConfig{TLS: true})
	require.NoError(t, err)
	client := attempt.Client(attempt.Transport(e.ClientTLS(), nil))
	t.Cleanup(func() {
		client.CloseIdleConnections()
		e.Close()
	})
	p, err := hms.New(hms.Config{Endpoint: e.URL(), TokenURL: e.TokenURL(), AppID: e.AppID(), AppSecret: e.AppSecret(), HTTPClient: client})
	require.NoError(t, err)
	return e, p, client
}

func notification(token string) pushext.Notification {
	return pushext.Notification{Address: pushext.Address{Token: token}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), CollapseID: "abcdefgh", TTL: time.Hour, Urgent: true, ID: "id"}
}

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
			e, p, _ := start(t)
			return p, &emulatetest.Backend{
				Service: e.Service,
				NewDevice: func() (pushext.Address, string) {
					token := e.NewToken()
					return pushext.Address{Token: token}, token
				},
				Answers: map[providertest.Fault]emulate.Answer{
					providertest.Unavailable: {Code: "81000001"},
					providertest.Throttled:   {Status: 429, Body: []byte("slow down")},
					providertest.Gone:        {Code: "80300007"},
					providertest.Malformed:   {Code: "80100003"},
					providertest.Refused:     {Code: "80300002"},
					providertest.Garbage:     {Status: 200, Body: []byte("Service")},
				},
			}
		},
	})
}

func TestPush(t *testing.T) {
	e, p, _ := start(t)
	token := e.NewToken()
	require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "hms 80000000"}, p.Push(t.Context(), notification(token)))
	got := <-e.Pushes(token)
	require.JSONEq(t, fmt.Sprintf(`{"validate_only":false,"message":{"token":[%q],"data":"{\"v\":2,\"p\":\"c2VhbGVk\"}",
		"android":{"urgency":"HIGH","ttl":"3600s","collapse_key":27}}}`, token), string(got.Raw))
	now := notification(token)
	now.TTL, now.Urgent = 0, false
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), now).Class)
	got = <-e.Pushes(token)
	require.Equal(t, time.Second, got.TTL)
	require.False(t, got.Urgent)
	long := notification(token)
	long.TTL = 365 * 24 * time.Hour
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), long).Class)
	require.Equal(t, hms.MaxTTL, (<-e.Pushes(token)).TTL)
	require.Equal(t, 1, e.Exchanges())

	e.RevokeAccess()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class, "an expired access token costs no push")
	require.Equal(t, 2, e.Exchanges())

	big := notification(token)
	big.Body = []byte(`{"p":"` + strings.Repeat("x", 4096) + `"}`)
	require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "hms 80300008"}, p.Push(t.Context(), big))
	e.Unregister(token)
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "hms 80300007"}, p.Push(t.Context(), notification(token)))
}

func TestCollapseKeys(t *testing.T) {
	e, p, _ := start(t)
	token := e.NewToken()
	n := notification(token)
	keys := make(map[string]bool)
	for i := range 200 {
		n.CollapseID, n.Urgent = fmt.Sprint("registration ", i), true
		for range 2 {
			require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
		}
		wake := (<-e.Pushes(token)).CollapseID
		require.Equal(t, wake, (<-e.Pushes(token)).CollapseID)
		n.Urgent = false
		require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
		calm := (<-e.Pushes(token)).CollapseID
		require.Less(t, wake, "55")
		require.GreaterOrEqual(t, calm, "55", "a dismissal replaces no wake-up")
		require.Len(t, wake+calm, 4)
		keys[wake], keys[calm] = true, true
	}
	require.Len(t, keys, 90)
	n.CollapseID = ""
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	require.Empty(t, (<-e.Pushes(token)).CollapseID)
}

func TestWrongSecretAndUnverifiedTLS(t *testing.T) {
	e, _, client := start(t)
	cfg := hms.Config{Endpoint: e.URL(), TokenURL: e.TokenURL(), AppID: e.AppID(), AppSecret: "wrong", HTTPClient: client}
	p, err := hms.New(cfg)
	require.NoError(t, err)
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "hms oauth 400"}, p.Push(t.Context(), notification(e.NewToken())))
	stranger := attempt.Client(attempt.Transport(nil, nil)) // does not know the emulator's authority
	defer stranger.CloseIdleConnections()
	cfg.AppSecret, cfg.HTTPClient = e.AppSecret(), stranger
	p, err = hms.New(cfg)
	require.NoError(t, err)
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "hms oauth tls"}, p.Push(t.Context(), notification(e.NewToken())))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, pushext.Retry, p.Push(ctx, notification(e.NewToken())).Class)
}

func TestNewExplainsItself(t *testing.T) {
	for want, cfg := range map[string]hms.Config{
		"push provider hms: AppID or AppSecret is missing":                                     {},
		`AppID "a/b" is not a number`:                                                          {AppID: "a/b", AppSecret: "x"},
		`Endpoint "push-api" is not a URL: give one such as https://push-api.cloud.huawei.com`: {AppID: "1", AppSecret: "x", Endpoint: "push-api"},
		`TokenURL "ftp://x" does not begin with https:// or http://`:                           {AppID: "1", AppSecret: "x", TokenURL: "ftp://x"},
	} {
		_, err := hms.New(cfg)
		require.ErrorContains(t, err, want)
	}
}
