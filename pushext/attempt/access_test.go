package attempt

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/testutil/clocktest"
)

// endpoint grants access tokens t1, t2 … and tells of each.
type endpoint struct {
	grants  atomic.Int64
	granted chan string // the form of each
}

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, e.grants.Add(1))
	e.granted <- string(form)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// TestClockIsSet: an access token from before the clock was set is replaced, and
// pushes do not wait for that.
func TestClockIsSet(t *testing.T) {
	e := &endpoint{granted: make(chan string, 10)}
	a := NewAccess(&http.Client{Transport: e}, "http://oauth.test/", time.Minute, func(now time.Time) (url.Values, error) {
		return url.Values{"iat": {"now"}}, nil
	})
	token := func(now time.Time) string {
		g, err := a.usable(t.Context(), now)
		require.NoError(t, err)
		return g.token
	}
	now := time.Now()
	require.Equal(t, "t1", token(now))
	require.Equal(t, "t1", token(now.Add(time.Minute)))
	require.Equal(t, "t1", token(clocktest.Set(now.Add(time.Minute), 20*time.Second)))
	require.Equal(t, "iat=now", <-e.granted)
	require.Empty(t, e.granted)

	require.Equal(t, "t1", token(clocktest.Set(now.Add(time.Minute), -3*time.Hour)), "the service grants it for a span, not until a time")
	select {
	case <-e.granted:
	case <-time.After(10 * time.Second):
		t.Fatal("it was not replaced")
	}
}
