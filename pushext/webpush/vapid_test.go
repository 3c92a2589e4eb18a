package webpush

import (
	"crypto/ecdh"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/testutil/clocktest"
)

func claims(t *testing.T, header string) jwt.RegisteredClaims {
	t.Helper()
	signed, _, ok := strings.Cut(strings.TrimPrefix(header, "vapid t="), ", k=")
	require.True(t, ok)
	var c jwt.RegisteredClaims
	_, _, err := jwt.NewParser().ParseUnverified(signed, &c)
	require.NoError(t, err)
	return c
}

// TestClockIsSet: a token whose expiry was reckoned by a wrong clock is not used again.
func TestClockIsSet(t *testing.T) {
	key, err := NewKey()
	require.NoError(t, err)
	v, err := newVAPID(key, "mailto:a@example.org")
	require.NoError(t, err)
	start := time.Now()
	expires := func(now time.Time) int64 {
		header, err := v.header("https://push.example.org", now)
		require.NoError(t, err)
		return claims(t, header).ExpiresAt.Unix()
	}
	require.Equal(t, start.Add(vapidLife).Unix(), expires(start))
	require.Equal(t, start.Add(vapidLife).Unix(), expires(start.Add(vapidLife/2-time.Second)))
	later := start.Add(vapidLife / 2)
	require.Equal(t, later.Add(vapidLife).Unix(), expires(later))
	for _, by := range []time.Duration{-13 * time.Hour, 13 * time.Hour} {
		now := clocktest.Set(later, by)
		require.Equal(t, now.Add(vapidLife).Unix(), expires(now), "%v", by)
	}
}

// recorder takes every push and keeps its request.
type recorder struct{ last *http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.last = req
	return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// TestOrigin: a token is for the endpoint's origin as RFC 6454 section 6.2 writes it,
// whatever the endpoint's spelling.
func TestOrigin(t *testing.T) {
	key, err := NewKey()
	require.NoError(t, err)
	p, err := New(Config{Key: key, Contact: "mailto:a@example.org", AllowHTTP: true})
	require.NoError(t, err)
	defer p.Close()
	posted := new(recorder)
	p.client = &http.Client{Transport: posted}
	device, err := ecdh.P256().GenerateKey(rand.Reader)
	require.NoError(t, err)
	for endpoint, want := range map[string]string{
		"https://push.example.org/u/1":      "https://push.example.org",
		"https://push.example.org:443/u/1":  "https://push.example.org",
		"HTTPS://PUSH.Example.org./u/1":     "https://push.example.org",
		"https://push.example.org:8443/u/1": "https://push.example.org:8443",
		"http://push.example.org:80/u/1":    "http://push.example.org",
		"https://[2606:4700:0::1]:443/u":    "https://[2606:4700::1]",
	} {
		n := pushext.Notification{Address: pushext.Address{Token: endpoint, Keys: [][]byte{device.PublicKey().Bytes(), make([]byte, authSize)}}, Body: []byte("{}")}
		require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class, endpoint)
		require.Equal(t, jwt.ClaimStrings{want}, claims(t, posted.last.Header.Get("Authorization")).Audience, endpoint)
		require.Equal(t, want, posted.last.URL.Scheme+"://"+posted.last.URL.Host)
	}
}
