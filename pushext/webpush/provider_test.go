package webpush_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webpushgo "github.com/SherClockHolmes/webpush-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webpush"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, secure bool) (*emulate.WebPush, *webpush.Provider) {
	e, err := emulate.StartWebPush(emulate.WebPushConfig{TLS: secure})
	require.NoError(t, err)
	key, err := webpush.NewKey()
	require.NoError(t, err)
	p, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:op@example.org", AllowHTTP: !secure, AllowPrivate: true, TLS: e.ClientTLS()})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Close()
		e.Close()
	})
	return e, p
}

func subscribe(t testing.TB, e *emulate.WebPush, p *webpush.Provider) (pushext.Notification, string) {
	s, err := e.Subscribe(p.PublicKey())
	require.NoError(t, err)
	return pushext.Notification{
		Address: pushext.Address{Token: s.Endpoint, Keys: [][]byte{s.P256dh, s.Auth}}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "abcdefgh_-", TTL: time.Minute, Urgent: true, ID: "id",
	}, s.Token
}

func TestPush(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", secure), func(t *testing.T) {
			e, p := start(t, secure)
			n, token := subscribe(t, e, p)
			require.NoError(t, p.Check(n.Address))
			require.True(t, strings.HasSuffix(e.URL(), "//"+p.Lane(n.Address)))
			require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "webpush 201"}, p.Push(t.Context(), n))
			got := <-e.Pushes(token)
			require.Equal(t, n.Body, got.Body)
			require.Equal(t, n.CollapseID, got.CollapseID)
			require.Equal(t, n.TTL, got.TTL)
			require.True(t, got.Urgent)
			size := len(got.Raw)

			n.Urgent, n.TTL, n.Body = false, 0, bytes.Repeat([]byte("x"), webpush.ContentSize)
			require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
			got = <-e.Pushes(token)
			require.Equal(t, n.Body, got.Body)
			require.Len(t, got.Raw, size, "one size for all")
			require.Zero(t, got.TTL)
			require.False(t, got.Urgent)

			n.Body = bytes.Repeat([]byte("x"), 3993)
			require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
			require.Len(t, (<-e.Pushes(token)).Raw, 4096)
			n.Body = append(n.Body, 'x')
			require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "webpush 413"}, p.Push(t.Context(), n))

			n.Body = []byte("{}")
			e.Unregister(token)
			require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "webpush 410"}, p.Push(t.Context(), n))
		})
	}
}

// TestForeignSender lets webpush-go send, so that the emulator's reading is not only our own.
func TestForeignSender(t *testing.T) {
	e, p := start(t, false)
	n, token := subscribe(t, e, p)
	s, err := e.Subscribe("")
	require.NoError(t, err)
	private, public, err := webpushgo.GenerateVAPIDKeys()
	require.NoError(t, err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	send := func(s *webpushgo.Subscription) int {
		resp, err := webpushgo.SendNotification([]byte("hello"), s, &webpushgo.Options{
			HTTPClient: &http.Client{Transport: transport}, Subscriber: "op@example.org", VAPIDPublicKey: public, VAPIDPrivateKey: private, TTL: 5, RecordSize: 512,
		})
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	require.Equal(t, 201, send(&webpushgo.Subscription{Endpoint: s.Endpoint, Keys: webpushgo.Keys{Auth: encode(s.Auth), P256dh: encode(s.P256dh)}}))
	require.Equal(t, "hello", string((<-e.Pushes(s.Token)).Body))
	require.Equal(t, 403, send(&webpushgo.Subscription{Endpoint: n.Address.Token, Keys: webpushgo.Keys{Auth: encode(n.Address.Keys[1]), P256dh: encode(n.Address.Keys[0])}}), "made for another key")
	require.Equal(t, 400, send(&webpushgo.Subscription{Endpoint: s.Endpoint, Keys: webpushgo.Keys{Auth: encode(s.Auth), P256dh: encode(n.Address.Keys[0])}}), "not decryptable")
	require.Empty(t, e.Pushes(token))

	// A key in the form of web-push tools works in our provider.
	q, err := webpush.New(webpush.Config{Key: []byte(private), Contact: "https://example.org", AllowHTTP: true, AllowPrivate: true})
	require.NoError(t, err)
	defer q.Close()
	require.Equal(t, public, q.PublicKey())
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Scope: pushext.ScopeAddress, Reason: "webpush 403"}, q.Push(t.Context(), n))
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
}

func TestEmulatorStrictness(t *testing.T) {
	e, p := start(t, false)
	n, token := subscribe(t, e, p)
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	good := <-e.Pushes(token)
	transport := attempt.Transport(nil, nil)
	defer transport.CloseIdleConnections()
	for _, authorization := range []string{"", "Bearer x", "vapid t=a.b.c, k=abc"} { // Header comes without Authorization
		h := good.Header.Clone()
		h.Set("Authorization", authorization)
		answer, err := attempt.Post(t.Context(), attempt.Client(transport), n.Address.Token, h, good.Raw)
		require.NoError(t, err)
		require.Equal(t, 401, answer.Status)
	}
	for header, value := range map[string]string{"Ttl": "", "Topic": strings.Repeat("a", 33), "Urgency": "extreme"} {
		h := good.Header.Clone()
		h.Set(header, value)
		answer, err := attempt.Post(t.Context(), attempt.Client(transport), n.Address.Token, h, good.Raw)
		require.NoError(t, err)
		require.Equal(t, 400, answer.Status, header)
	}
	answer, err := attempt.Post(t.Context(), attempt.Client(transport), n.Address.Token, good.Header.Clone(), make([]byte, 4097))
	require.NoError(t, err)
	require.Equal(t, 413, answer.Status)
}

func TestCheck(t *testing.T) {
	e, p := start(t, true)
	n, _ := subscribe(t, e, p)
	keys := n.Address.Keys
	require.ErrorContains(t, p.Check(pushext.Address{Token: n.Address.Token}), "two keys")
	require.ErrorContains(t, p.Check(pushext.Address{Token: n.Address.Token, Keys: [][]byte{make([]byte, 65), keys[1]}}), "point on P-256")
	require.ErrorContains(t, p.Check(pushext.Address{Token: n.Address.Token, Keys: [][]byte{keys[0], keys[1][:15]}}), "15 bytes, want 16")
	require.ErrorContains(t, p.Check(pushext.Address{Token: "http" + n.Address.Token[5:], Keys: keys}), "https")
	key, err := webpush.NewKey()
	require.NoError(t, err)
	public, err := webpush.New(webpush.Config{Key: key, Contact: "mailto:a@example.org"})
	require.NoError(t, err)
	defer public.Close()
	require.ErrorContains(t, public.Check(n.Address), "public internet")
	require.Equal(t, pushext.MessageBad, public.Push(t.Context(), n).Class)
	require.NoError(t, public.Check(pushext.Address{Token: "https://updates.push.services.mozilla.com/wpush/v2/x", Keys: keys}))
}

func TestNewExplainsItself(t *testing.T) {
	key, err := webpush.NewKey()
	require.NoError(t, err)
	for want, cfg := range map[string]webpush.Config{
		"push provider webpush: KeyFile is missing: name the VAPID private key": {Contact: "mailto:a@b"},
		`none", and there is none`: {KeyFile: filepath.Join(t.TempDir(), "none"), Contact: "mailto:a@b"},
		"push provider webpush: Key is not a VAPID key: it is neither PEM nor 32 bytes": {Key: []byte("abc"), Contact: "mailto:a@b"},
		"is not a mailto: or https: URL":                                                {Key: key, Contact: "op@example.org"},
	} {
		_, err := webpush.New(cfg)
		require.ErrorContains(t, err, want)
	}
}

// TestContact is which contacts push services take. Apple's refuses all pushes of a
// server whose contact is at localhost.
func TestContact(t *testing.T) {
	key, err := webpush.NewKey()
	require.NoError(t, err)
	for _, contact := range []string{
		"mailto:operator@example.org", "mailto:first.last+push@mail.example.co.uk", "https://example.org/contact?by=mail", "https://example.org", "mailto:o@xn--bcher-kva.example.org",
	} {
		_, err := webpush.New(webpush.Config{Key: key, Contact: contact})
		require.NoError(t, err, contact)
	}
	for contact, want := range map[string]string{
		"":                                    "is not a mailto: or https: URL",
		"operator@example.org":                "is not a mailto: or https: URL",
		"http://example.org":                  "is not a mailto: or https: URL",
		"https://":                            "is not a mailto: or https: URL",
		"mailto:":                             "is not mailto: and a mail address alone",
		"mailto:ops":                          "is not mailto: and a mail address alone",
		"mailto: ops@example.org":             "is not mailto: and a mail address alone",
		"mailto:<ops@example.org>":            "is not mailto: and a mail address alone",
		"mailto:Ops <ops@example.org>":        "is not mailto: and a mail address alone",
		"mailto:a@example.org,b@example.org":  "is not mailto: and a mail address alone",
		"mailto:ops@example.org?subject=push": "is not mailto: and a mail address alone",
		"mailto:ops@localhost":                "is not at a domain of the public internet",
		"mailto:ops@mail.local":               "is not at a domain of the public internet",
		"mailto:ops@[127.0.0.1]":              "is not",
		"https://localhost/contact":           "does not lead to the public internet",
		"https://10.0.0.1/":                   "does not lead to the public internet",
		"https://push":                        "does not lead to the public internet",
	} {
		_, err := webpush.New(webpush.Config{Key: key, Contact: contact})
		require.ErrorContains(t, err, want, contact)
		require.ErrorContains(t, err, "push provider webpush: Contact", contact)
	}
}

func BenchmarkPush(b *testing.B) {
	e, p := start(b, false)
	n, _ := subscribe(b, e, p)
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

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
