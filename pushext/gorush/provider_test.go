package gorush_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/gorush"
	"whisperpush/pushext/providertest"
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
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush not found"}, p.Push(t.Context(), notification(token)))
}

// TestModeChanges: a gorush that was restarted to answer before it sends is not believed
// once, although its answers are those of before and its configuration was good a moment
// ago: the push came over a younger connection than the configuration.
func TestModeChanges(t *testing.T) {
	e, err := emulate.StartGorush(emulate.GorushConfig{Platform: number(gorush.Android)})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	client := attempt.Client(attempt.Transport(nil, nil))
	t.Cleanup(client.CloseIdleConnections)
	p, err := gorush.New(config(e, gorush.Android, client))
	require.NoError(t, err)
	n := notification(e.NewToken())
	for range 3 {
		require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	}
	require.Equal(t, 1, e.Configs(), "asked once, while the connection lasts")

	e.SetSync(false)
	client.CloseIdleConnections() // as a restart does
	off := pushext.Verdict{Class: pushext.ProviderBroken, Reason: "gorush core.sync is off"}
	require.Equal(t, off, p.Push(t.Context(), n))
	require.Equal(t, 4, e.Accepted(), "it had taken it")
	require.Equal(t, off, p.Push(t.Context(), n))
	require.Equal(t, 4, e.Accepted(), "and is given no more")
}

// TestModeIsAskedAgain is how long a reading of gorush's configuration counts where no
// connection tells of a restart, as behind a proxy.
func TestModeIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := emulate.StartGorush(emulate.GorushConfig{Addr: emulate.Memory, Platform: number(gorush.Android)})
		require.NoError(t, err)
		defer e.Close()
		p, err := gorush.New(config(e, gorush.Android, &http.Client{Transport: e.Transport()}))
		require.NoError(t, err)
		n := notification(e.NewToken())
		push := func() pushext.Class { return p.Push(t.Context(), n).Class }
		require.Equal(t, pushext.Delivered, push())
		e.SetSync(false)
		time.Sleep(time.Minute + time.Second)
		require.Equal(t, pushext.ProviderBroken, push())
		require.Equal(t, 1, e.Accepted())
		var wg sync.WaitGroup
		asked := e.Configs()
		for range 20 {
			wg.Go(func() { require.Equal(t, pushext.ProviderBroken, push()) })
		}
		wg.Wait()
		require.Equal(t, asked, e.Configs(), "one look serves all pushes of a second")
		e.SetSync(true)
		time.Sleep(time.Second + time.Millisecond)
		require.Equal(t, pushext.Delivered, push())
		require.Equal(t, 2, e.Accepted())
	})
}

func TestQuiet(t *testing.T) {
	_, p := start(t, gorush.Android)
	require.Zero(t, p.Quiet())
	_, p = start(t, gorush.IOS)
	require.Equal(t, apns.Background(), p.Quiet())
}

func TestCollapsible(t *testing.T) {
	_, p := start(t, gorush.Android)
	require.Equal(t, fcm.Collapsible(), p.Collapsible())
	_, p = start(t, gorush.IOS)
	require.Zero(t, p.Collapsible())
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
