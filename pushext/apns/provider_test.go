package apns_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(e *emulate.APNS, client *http.Client) apns.Config {
	return apns.Config{Endpoint: e.URL(), Topic: e.Topic(), TeamID: e.TeamID(), KeyID: e.KeyID(), Key: e.KeyPEM(), HTTPClient: client}
}

func start(t testing.TB) (*emulate.APNS, *apns.Provider, *http.Client) {
	e, err := emulate.StartAPNS(emulate.APNSConfig{})
	require.NoError(t, err)
	client := attempt.Client(attempt.Transport(e.ClientTLS(), nil))
	t.Cleanup(func() {
		client.CloseIdleConnections()
		e.Close()
	})
	p, err := apns.New(config(e, client))
	require.NoError(t, err)
	return e, p, client
}

func notification(token string) pushext.Notification {
	return pushext.Notification{
		Address: pushext.Address{Token: token}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), CollapseID: "abcdefgh",
		TTL: time.Hour, Urgent: true, Visible: true, ID: "id-1",
	}
}

func TestPush(t *testing.T) {
	e, p, _ := start(t)
	token := e.NewToken()
	require.NoError(t, p.Check(pushext.Address{Token: token}))
	require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "apns 200"}, p.Push(t.Context(), notification(token)))
	got := <-e.Pushes(token)
	require.JSONEq(t, `{"v":2,"p":"c2VhbGVk"}`, string(got.Body))
	require.JSONEq(t, `{"aps":{"alert":"New message","mutable-content":1,"sound":"default"},"v":2,"p":"c2VhbGVk"}`, string(got.Raw))
	require.Equal(t, "abcdefgh", got.CollapseID)
	require.InDelta(t, time.Hour, got.TTL, float64(5*time.Second))
	require.True(t, got.Urgent)

	quiet := notification(token)
	quiet.Visible, quiet.TTL = false, 0
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), quiet).Class)
	got = <-e.Pushes(token)
	require.JSONEq(t, `{"aps":{"content-available":1},"v":2,"p":"c2VhbGVk"}`, string(got.Raw))
	require.Equal(t, "background", got.Header.Get("apns-push-type"))
	require.Equal(t, "0", got.Header.Get("apns-expiration"), "try once")
	require.False(t, got.Urgent, "a background push must have priority 5")

	calm := notification(token)
	calm.Urgent = false
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), calm).Class)
	require.Equal(t, "5", (<-e.Pushes(token)).Header.Get("apns-priority"))

	e.Unregister(token)
	v := p.Push(t.Context(), notification(token))
	require.Equal(t, pushext.TokenDead, v.Class)
	require.WithinDuration(t, time.Now(), v.At, time.Minute)
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "apns 400 BadDeviceToken"}, p.Push(t.Context(), notification(strings.Repeat("ab", 32))))
}

func TestPushRefusesWhatAPNsWould(t *testing.T) {
	e, p, _ := start(t)
	for _, body := range []string{"", "null", "[]", `{"aps":{}}`, `{"p":"` + strings.Repeat("x", 4096) + `"}`} {
		n := notification(e.NewToken())
		n.Body = []byte(body)
		require.Equal(t, pushext.MessageBad, p.Push(t.Context(), n).Class)
	}
	require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "apns bad address"}, p.Push(t.Context(), notification("../../x")))
	require.Zero(t, e.Accepted())
}

// TestEmulatorStrictness sends wrong requests past the provider.
func TestEmulatorStrictness(t *testing.T) {
	e, p, client := start(t)
	token := e.NewToken()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class)
	good := (<-e.Pushes(token)).Header
	other, err := emulate.StartAPNS(emulate.APNSConfig{})
	require.NoError(t, err)
	defer other.Close()

	wrongKey := config(e, client)
	wrongKey.Key = other.KeyPEM()
	stranger, err := apns.New(wrongKey)
	require.NoError(t, err)
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "apns 403 InvalidProviderToken"}, stranger.Push(t.Context(), notification(token)))
	wrongTopic := config(e, client)
	wrongTopic.Topic = "org.example.other"
	stranger, err = apns.New(wrongTopic)
	require.NoError(t, err)
	v := stranger.Push(t.Context(), notification(token))
	require.Contains(t, []string{"apns 400 TopicDisallowed", "apns 429 TooManyProviderTokenUpdates"}, v.Reason) // ES256 is randomised: another provider, another token

	answer, err := attempt.Post(t.Context(), client, e.URL()+"/3/device/"+token, http.Header{"Apns-Topic": good["Apns-Topic"]}, []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, 403, answer.Status)
	require.Contains(t, string(answer.Body), "MissingProviderToken")

	http1 := attempt.Transport(&tls.Config{RootCAs: e.CertPool(), NextProtos: []string{"http/1.1"}}, nil)
	http1.ForceAttemptHTTP2 = false
	defer http1.CloseIdleConnections()
	answer, err = attempt.Post(t.Context(), attempt.Client(http1), e.URL()+"/3/device/"+token, http.Header{}, []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, http.StatusHTTPVersionNotSupported, answer.Status)
}

// apple remembers provider tokens inside a bubble.
type apple struct {
	mu      sync.Mutex
	tokens  []string
	expired bool
}

func (a *apple) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := r.Header.Get("Authorization")
	if len(a.tokens) == 0 || a.tokens[len(a.tokens)-1] != token {
		a.tokens = append(a.tokens, token)
	}
	status, body := 200, ""
	if a.expired {
		status, body = 403, `{"reason":"ExpiredProviderToken"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestProviderTokenAge(t *testing.T) {
	e, _, _ := start(t)
	cfg := config(e, nil)
	synctest.Test(t, func(t *testing.T) {
		a := &apple{}
		cfg.HTTPClient = &http.Client{Transport: a}
		p, err := apns.New(cfg)
		require.NoError(t, err)
		n := notification(strings.Repeat("ab", 32))
		began := time.Now()
		var changes []time.Duration
		for time.Since(began) < 3*time.Hour {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { require.Equal(t, pushext.Delivered, p.Push(context.Background(), n).Class) })
			}
			wg.Wait()
			if len(a.tokens) > len(changes) {
				require.Len(t, a.tokens, len(changes)+1, "all share one")
				changes = append(changes, time.Since(began))
			}
			time.Sleep(time.Minute)
		}
		require.Equal(t, []time.Duration{0, 45 * time.Minute, 90 * time.Minute, 135 * time.Minute}, changes)

		require.Equal(t, pushext.Delivered, p.Push(context.Background(), n).Class)
		time.Sleep(30 * time.Minute)
		a.expired = true
		want := pushext.Verdict{Class: pushext.ProviderBroken, Reason: "apns 403 ExpiredProviderToken"}
		before := len(a.tokens)
		require.Equal(t, want, p.Push(context.Background(), n))
		require.Len(t, a.tokens, before+1, "an old token that is refused is renewed, once")
		require.Equal(t, want, p.Push(context.Background(), n))
		require.Len(t, a.tokens, before+1, "a fresh one is not")
	})
}

func TestCheck(t *testing.T) {
	_, p, _ := start(t)
	require.ErrorContains(t, p.Check(pushext.Address{Token: "abcd"}), "64 to 200")
	require.ErrorContains(t, p.Check(pushext.Address{Token: strings.Repeat("a", 65)}), "64 to 200")
	require.ErrorContains(t, p.Check(pushext.Address{Token: strings.Repeat("g", 64)}), "hexadecimal")
	require.ErrorContains(t, p.Check(pushext.Address{Token: strings.Repeat("a", 64), Keys: [][]byte{{1}}}), "no keys")
	require.NoError(t, p.Check(pushext.Address{Token: strings.Repeat("aB", 80)}))
}

func TestNewExplainsItself(t *testing.T) {
	e, _, client := start(t)
	for name, tt := range map[string]struct {
		change func(*apns.Config)
		want   string
	}{
		"no key":   {func(c *apns.Config) { c.Key = nil }, "push provider apns: KeyFile is missing: name the .p8 file"},
		"no file":  {func(c *apns.Config) { c.Key, c.KeyFile = nil, filepath.Join(t.TempDir(), "none.p8") }, `none.p8", and there is none`},
		"bad key":  {func(c *apns.Config) { c.Key = []byte("x") }, "Key is not an APNs authentication key"},
		"no team":  {func(c *apns.Config) { c.TeamID = "" }, "KeyID or TeamID is missing"},
		"no topic": {func(c *apns.Config) { c.Topic = "" }, "bundle id"},
		"http":     {func(c *apns.Config) { c.Endpoint = "http://x" }, `Endpoint "http://x" does not begin with https://: give one such as https://api.push.apple.com`},
		"query":    {func(c *apns.Config) { c.Endpoint = "https://x?y" }, `Endpoint "https://x?…" has a query`},
	} {
		cfg := config(e, client)
		tt.change(&cfg)
		_, err := apns.New(cfg)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func BenchmarkPush(b *testing.B) {
	e, p, _ := start(b)
	n := notification(e.NewToken())
	n.Body = fmt.Appendf(nil, `{"v":2,"p":%q}`, strings.Repeat("A", 1400))
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v := p.Push(b.Context(), n); v.Class != pushext.Delivered {
				b.Error(v)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}
