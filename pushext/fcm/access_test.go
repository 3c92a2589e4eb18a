package fcm

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// google plays token and message endpoint inside a synctest bubble.
type google struct {
	mu        sync.Mutex
	exchanges int
	refuse    int           // status of exchanges; 0 grants
	delay     time.Duration // of exchanges
	life      int           // seconds
	revoked   bool          // messages are refused
	sent      int
}

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	if strings.HasSuffix(r.URL.Path, "/token") {
		g.mu.Lock()
		g.exchanges++
		n, refuse, delay := g.exchanges, g.refuse, g.delay
		g.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if refuse != 0 {
			return answer(refuse, `{"error":"invalid_grant"}`)
		}
		return answer(200, fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":%d}`, n, g.life))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent++
	if g.revoked || r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", g.exchanges) && g.delay == 0 {
		return answer(401, googleError(401, "UNAUTHENTICATED", "", "x"))
	}
	return answer(200, `{"name":"n"}`)
}

func (g *google) counts() (exchanges, sent int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.exchanges, g.sent
}

var testKey = sync.OnceValue(func() []byte {
	key, err := accountKey()
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	raw, _ := json.Marshal(account{
		Type: "service_account", ProjectID: "p", PrivateKeyID: "k", ClientEmail: "e@p",
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), TokenURI: "http://google.test/token",
	})
	return raw
})

func bubble(t *testing.T, g *google, run func(t *testing.T, p *Provider, push func() pushext.Verdict)) {
	testKey()
	synctest.Test(t, func(t *testing.T) {
		if g.life == 0 {
			g.life = 3600
		}
		p, err := New(Config{Endpoint: "http://google.test", CredentialsJSON: testKey(), HTTPClient: &http.Client{Transport: g}})
		require.NoError(t, err)
		run(t, p, func() pushext.Verdict {
			return p.Push(context.Background(), pushext.Notification{Address: pushext.Address{Token: "d"}, Body: []byte(`{"v":2}`)})
		})
	})
}

func TestAccessSingleFlight(t *testing.T) {
	g := &google{delay: 2 * time.Second}
	bubble(t, g, func(t *testing.T, p *Provider, push func() pushext.Verdict) {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { require.Equal(t, pushext.Delivered, push().Class) })
		}
		wg.Wait()
		exchanges, sent := g.counts()
		require.Equal(t, 1, exchanges)
		require.Equal(t, 50, sent)
	})
}

func TestAccessRefreshedEarlyBehindThePush(t *testing.T) {
	g := &google{delay: 3 * time.Second}
	bubble(t, g, func(t *testing.T, p *Provider, push func() pushext.Verdict) {
		require.Equal(t, pushext.Delivered, push().Class)
		time.Sleep(56 * time.Minute) // inside the last five minutes
		start := time.Now()
		for range 10 {
			require.Equal(t, pushext.Delivered, push().Class)
		}
		require.Zero(t, time.Since(start), "no push waits while the old token lives")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		exchanges, _ := g.counts()
		require.Equal(t, 2, exchanges)
		time.Sleep(50 * time.Minute)
		push()
		exchanges, _ = g.counts()
		require.Equal(t, 2, exchanges)
	})
}

func TestAccessRefused(t *testing.T) {
	for status, want := range map[int]pushext.Verdict{
		400: {Class: pushext.ProviderBroken, Reason: "fcm oauth 400"},
		401: {Class: pushext.ProviderBroken, Reason: "fcm oauth 401"},
		429: {Class: pushext.Retry, Scope: pushext.ScopeProvider, Reason: "fcm oauth 429"},
		503: {Class: pushext.Retry, Scope: pushext.ScopeProvider, Reason: "fcm oauth 503"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			g := &google{refuse: status}
			bubble(t, g, func(t *testing.T, p *Provider, push func() pushext.Verdict) {
				for range 20 {
					require.Equal(t, want, push())
				}
				exchanges, sent := g.counts()
				require.Equal(t, 1, exchanges, "a refusal is held, not asked for again by each push")
				require.Zero(t, sent)
				time.Sleep(attempt.HoldRefusal)
				g.mu.Lock()
				g.refuse = 0
				g.mu.Unlock()
				require.Equal(t, pushext.Delivered, push().Class)
			})
		})
	}
}

func TestAccessRevoked(t *testing.T) {
	g := &google{}
	bubble(t, g, func(t *testing.T, p *Provider, push func() pushext.Verdict) {
		require.Equal(t, pushext.Delivered, push().Class)
		g.mu.Lock()
		g.revoked = true
		g.mu.Unlock()
		require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm 401"}, push())
		exchanges, sent := g.counts()
		require.Equal(t, 2, exchanges, "one refresh")
		require.Equal(t, 3, sent, "one repetition")
	})
}

func TestAccessCancelledPushLeavesTheExchange(t *testing.T) {
	g := &google{delay: 5 * time.Second}
	bubble(t, g, func(t *testing.T, p *Provider, push func() pushext.Verdict) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		v := p.Push(ctx, pushext.Notification{Address: pushext.Address{Token: "d"}, Body: []byte(`{}`)})
		require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "fcm oauth timeout"}, v)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, pushext.Delivered, push().Class)
		exchanges, _ := g.counts()
		require.Equal(t, 1, exchanges)
	})
}
