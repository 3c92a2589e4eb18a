package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, cfg emulate.WebhookConfig) (*emulate.Webhook, *webhook.Provider) {
	e, err := emulate.StartWebhook(cfg)
	require.NoError(t, err)
	p, err := webhook.New(webhook.Config{AllowHTTP: !cfg.TLS, AllowPrivate: true, TLS: e.ClientTLS()})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Close()
		e.Close()
	})
	return e, p
}

func endpoint(e *emulate.Webhook) (pushext.Notification, string) {
	url, token, secret := e.NewEndpoint()
	return pushext.Notification{
		Address: pushext.Address{Token: url, Keys: [][]byte{secret}}, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "abcdefgh", TTL: time.Minute, Urgent: true, ID: "id-" + token[6:],
	}, token
}

func TestPush(t *testing.T) {
	for name, cfg := range map[string]emulate.WebhookConfig{"http": {}, "https": {TLS: true}} {
		t.Run(name, func(t *testing.T) {
			e, p := start(t, cfg)
			n, token := endpoint(e)
			require.NoError(t, p.Check(n.Address))
			require.Equal(t, e.URL(), strings.SplitN(e.URL(), "//", 2)[0]+"//"+p.Lane(n.Address))
			require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "webhook 204"}, p.Push(t.Context(), n))
			got := <-e.Pushes(token)
			require.Equal(t, n.Body, got.Body)
			require.Equal(t, n.ID, got.ID)
			require.Equal(t, n.CollapseID, got.CollapseID)
			require.Equal(t, n.TTL, got.TTL)
			require.True(t, got.Urgent)

			n.Address.Keys = [][]byte{bytes.Repeat([]byte{1}, 32)}
			n.ID = "another"
			require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "webhook 401"}, p.Push(t.Context(), n))
		})
	}
}

func TestRetryIsNotDeliveredTwice(t *testing.T) {
	e, p := start(t, emulate.WebhookConfig{})
	n, token := endpoint(e)
	e.Script(token, emulate.Answer{Accept: true, Status: 500})
	require.Equal(t, pushext.Retry, p.Push(t.Context(), n).Class)
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	require.Len(t, e.Received(), 1)
	require.Equal(t, 1, e.Repeats())
}

// TestReceiver checks that the emulator is as strict as the specification.
func TestReceiver(t *testing.T) {
	e, _ := start(t, emulate.WebhookConfig{})
	url, _, secret := e.NewEndpoint()
	post := func(id string, at time.Time, body, sent string) int {
		stamp := strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(sent))
		require.NoError(t, err)
		req.Close = true
		req.Header.Set("webhook-id", id)
		req.Header.Set("webhook-timestamp", stamp)
		req.Header.Set("webhook-signature", "v1a,AAAA v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	recent := time.Now().Add(-10 * time.Second)
	require.Equal(t, 204, post("a", recent, `{}`, `{}`))
	require.Equal(t, 409, post("a", recent, `{}`, `{}`), "replay")
	require.Equal(t, 204, post("a", time.Now(), `{}`, `{}`), "retry")
	require.Equal(t, 401, post("b", recent, `{}`, `{"x":1}`), "changed body")
	require.Equal(t, 400, post("c", time.Now().Add(-time.Hour), `{}`, `{}`), "old")
	require.Equal(t, 400, post("d", time.Now().Add(time.Hour), `{}`, `{}`), "future")
	require.Equal(t, 400, post("", recent, `{}`, `{}`), "no id")
	require.Len(t, e.Received(), 1)
}

func TestHangingHost(t *testing.T) {
	e, err := emulate.StartWebhook(emulate.WebhookConfig{})
	require.NoError(t, err)
	defer e.Close()
	p, err := webhook.New(webhook.Config{AllowHTTP: true, AllowPrivate: true, Timeout: 100 * time.Millisecond})
	require.NoError(t, err)
	defer p.Close()
	n, token := endpoint(e)
	e.Script(token, emulate.Answer{Hang: true, Times: -1})
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "webhook timeout"}, p.Push(t.Context(), n))
}

func TestCheck(t *testing.T) {
	p, err := webhook.New(webhook.Config{})
	require.NoError(t, err)
	secret := [][]byte{bytes.Repeat([]byte{1}, 32)}
	require.NoError(t, p.Check(pushext.Address{Token: "https://example.org/x", Keys: secret}))
	require.ErrorContains(t, p.Check(pushext.Address{Token: "http://example.org/x", Keys: secret}), "https")
	require.ErrorContains(t, p.Check(pushext.Address{Token: "https://127.0.0.1/x", Keys: secret}), "public internet")
	require.ErrorContains(t, p.Check(pushext.Address{Token: "https://example.org/x"}), "signing secret")
	require.ErrorContains(t, p.Check(pushext.Address{Token: "https://example.org/x", Keys: [][]byte{make([]byte, 23)}}), "24 to 64 bytes")
	require.ErrorContains(t, p.Check(pushext.Address{Token: "https://example.org/x", Keys: [][]byte{make([]byte, 65)}}), "24 to 64 bytes")
	require.Empty(t, p.Lane(pushext.Address{Token: "nonsense"}))
}

// canary is a listener that must never be connected to.
func canary(t *testing.T, address string) (port string, touched *atomic.Int32) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no listener at %s: %v", address, err)
	}
	touched = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			touched.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, touched
}

// nameServer answers every question with the addresses of addrs, so that a
// harmless name leads where its owner likes.
func nameServer(t *testing.T, addrs *atomic.Pointer[[]netip.Addr]) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			for _, addr := range *addrs.Load() {
				head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}
				switch {
				case q.Type == dnsmessage.TypeA && addr.Is4():
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
				case q.Type == dnsmessage.TypeAAAA && addr.Is6():
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
				}
			}
			packed, err := m.Pack()
			if err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// TestRebinding registers a harmless name, which passes Check, and lets it lead
// inside when the push is sent: no packet may reach the canary.
func TestRebinding(t *testing.T) {
	port, touched := canary(t, "127.0.0.1:0")
	var addrs atomic.Pointer[[]netip.Addr]
	p, err := webhook.New(webhook.Config{AllowHTTP: true, Resolver: nameServer(t, &addrs)})
	require.NoError(t, err)
	defer p.Close()
	for _, list := range [][]string{
		{"127.0.0.1"}, {"0.0.0.0"}, {"::1"}, {"::"}, {"::ffff:127.0.0.1"}, {"64:ff9b::7f00:1"}, {"2002:7f00:1::"}, {"169.254.169.254"},
		{"10.0.0.1"}, {"100.64.0.1"}, {"fe80::1"}, {"fd00::1"}, {"224.0.0.1"}, {"203.0.113.9", "127.0.0.1", "::1"},
	} {
		t.Run(strings.Join(list, ","), func(t *testing.T) {
			var parsed []netip.Addr
			for _, a := range list {
				parsed = append(parsed, netip.MustParseAddr(a))
			}
			addrs.Store(&parsed)
			for _, scheme := range []string{"http", "https"} {
				n := pushext.Notification{Address: pushext.Address{Token: scheme + "://push.example.org:" + port + "/", Keys: [][]byte{make([]byte, 32)}}, Body: []byte(`{}`), ID: "a"}
				require.NoError(t, p.Check(n.Address))
				require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "webhook forbidden address"}, p.Push(t.Context(), n))
			}
		})
	}
	require.Zero(t, touched.Load())
}

// TestTricksAtPush sends to what Check refuses, as for a registration that was
// accepted under another policy.
func TestTricksAtPush(t *testing.T) {
	port, touched := canary(t, "127.0.0.1:0")
	p, err := webhook.New(webhook.Config{AllowHTTP: true})
	require.NoError(t, err)
	defer p.Close()
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "user@127.0.0.1", "example.org@127.0.0.1"} {
		n := pushext.Notification{Address: pushext.Address{Token: "http://" + host + ":" + port + "/", Keys: [][]byte{make([]byte, 32)}}, Body: []byte(`{}`), ID: "a"}
		require.Equal(t, pushext.MessageBad, p.Push(t.Context(), n).Class, host)
	}
	require.Zero(t, touched.Load())
}

// TestRedirectIsNotFollowed lets an allowed host point to the canary.
func TestRedirectIsNotFollowed(t *testing.T) {
	port, touched := canary(t, "127.0.0.1:0")
	e, p := start(t, emulate.WebhookConfig{})
	for _, status := range []int{301, 302, 303, 307, 308} {
		n, token := endpoint(e)
		e.Script(token, emulate.Answer{Status: status, Header: http.Header{"Location": {"http://127.0.0.1:" + port + "/"}}})
		require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: fmt.Sprint("webhook ", status)}, p.Push(t.Context(), n))
	}
	require.Zero(t, touched.Load())
}

// TestNoProxy sets the variables that http.ProxyFromEnvironment reads.
func TestNoProxy(t *testing.T) {
	port, touched := canary(t, "127.0.0.1:0")
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:"+port)
	}
	e, p := start(t, emulate.WebhookConfig{})
	n, _ := endpoint(e)
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	require.Zero(t, touched.Load())
}

func TestReasonsHoldNoAddress(t *testing.T) {
	e, p := start(t, emulate.WebhookConfig{})
	n, token := endpoint(e)
	e.Script(token, emulate.Answer{Status: 400, Body: []byte(n.Address.Token)})
	v := p.Push(t.Context(), n)
	require.NotContains(t, fmt.Sprintf("%+v", v), "127.0.0.1")
	n.Address.Token = "http://127.0.0.1:1/secret"
	v = p.Push(t.Context(), n)
	require.Equal(t, "webhook network", v.Reason)
}
