package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/clocktest"
)

// TestClockIsSet: a provider token that names a time of a wrong clock is renewed at
// once, and no token for less.
func TestClockIsSet(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	b := &bearer{key: key, keyID: "k", teamID: "t"}
	issued := func(now time.Time) time.Time {
		signed, err := b.token(now)
		require.NoError(t, err)
		var claims jwt.RegisteredClaims
		_, _, err = jwt.NewParser().ParseUnverified(signed, &claims)
		require.NoError(t, err)
		return claims.IssuedAt.Time
	}
	start := time.Now()
	require.Equal(t, start.Unix(), issued(start).Unix())
	require.Equal(t, start.Unix(), issued(start.Add(renewAfter-time.Second)).Unix())
	require.Equal(t, start.Unix(), issued(clocktest.Set(start.Add(time.Minute), 20*time.Second)).Unix(), "a small correction")

	for _, by := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		now := clocktest.Set(start.Add(time.Minute), by)
		require.Equal(t, now.Unix(), issued(now).Unix(), "%v", by)
		require.Equal(t, now.Unix(), issued(now.Add(time.Minute)).Unix(), "and that one is kept")
	}
}
