package gorush_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/gorush"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulate"
	"whisperpush/testutil/emulatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// number is gorush's own of a platform.
func number(platform string) int {
	return map[string]int{gorush.IOS: 1, gorush.Android: 2}[platform]
}

func config(e *emulate.Gorush, platform string, client *http.Client) gorush.Config {
	cfg := gorush.Config{Endpoint: e.URL() + "/", Platform: platform, HTTPClient: client}
	if platform == gorush.IOS {
		cfg.Topic = "org.example.app"
	}
	return cfg
}

func start(t testing.TB, platform string) (*emulate.Gorush, *gorush.Provider) {
	e, err := emulate.StartGorush(emulate.GorushConfig{Platform: number(platform)})
	require.NoError(t, err)
	client := attempt.Client(attempt.Transport(nil, nil))
	t.Cleanup(func() {
		client.CloseIdleConnections()
		e.Close()
	})
	p, err := gorush.New(config(e, platform, client))
	require.NoError(t, err)
	return e, p
}

func notification(token string) pushext.Notification {
	return pushext.Notification{Address: pushext.Address{Token: token}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), CollapseID: "abc", TTL: time.Hour, Urgent: true, Visible: true, ID: "id"}
}

func TestConformance(t *testing.T) {
	for platform, gone := range map[string]string{
		gorush.Android: "The registration token is not a valid FCM registration token",
		gorush.IOS:     "Unregistered",
	} {
		t.Run(platform, func(t *testing.T) {
			refused := emulate.Answer{Status: 401, Body: []byte(`{}`)}
			if platform == gorush.IOS {
				refused = emulate.Answer{Message: "InvalidProviderToken"}
			}
			providertest.Run(t, providertest.Harness{
				New: func(t *testing.T) (pushext.Provider, providertest.Backend) {
					e, p := start(t, platform)
					return p, &emulatetest.Backend{
						Service: e.Service,
						NewDevice: func() (pushext.Address, string) {
							token := e.NewToken()
							return pushext.Address{Token: token}, token
						},
						Answers: map[providertest.Fault]emulate.Answer{
							providertest.Unavailable: {Message: "InternalServerError"},
							providertest.Throttled:   {Status: 429},
							providertest.Gone:        {Message: gone},
							providertest.Malformed:   {Status: 400},
							providertest.Refused:     refused,
							providertest.Garbage:     {Status: 200, Body: []byte("<html>")},
						},
					}
				},
			})
		})
	}
}

func TestPush(t *testing.T) {
	e, p := start(t, gorush.IOS)
	token := e.NewToken()
	require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "gorush 200"}, p.Push(t.Context(), notification(token)))
	got := <-e.Pushes(token)
	require.True(t, got.Visible)
	require.Contains(t, string(got.Raw), `"mutable_content":true`)
	e.Unregister(token)
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush Unregistered"}, p.Push(t.Context(), notification(token)))

	e, p = start(t, gorush.Android)
	token = e.NewToken()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class)
	require.False(t, (<-e.Pushes(token)).Visible)
	e.Unregister(token)
	require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "gorush not found"}, p.Push(t.Context(), notification(token)), "not exact enough to end a registration")
}

func TestQuiet(t *testing.T) {
	_, p := start(t, gorush.Android)
	require.Zero(t, p.Quiet())
	_, p = start(t, gorush.IOS)
	require.Equal(t, apns.Background(), p.Quiet())
}

func TestNewExplainsItself(t *testing.T) {
	for want, cfg := range map[string]gorush.Config{
		"use provider hms":       {Platform: "huawei", Endpoint: "http://x"},
		`Platform "" is neither`: {Endpoint: "http://x"},
		"bundle id":              {Platform: gorush.IOS, Endpoint: "http://x"},
		"push provider gorush: Endpoint is missing": {Platform: gorush.Android},
	} {
		_, err := gorush.New(cfg)
		require.ErrorContains(t, err, want)
	}
}
