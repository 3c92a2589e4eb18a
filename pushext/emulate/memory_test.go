package emulate_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/emulate"
)

// TestMemory is an emulator in fake time, with what a transport owes its caller.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := emulate.StartGorush(emulate.GorushConfig{Addr: emulate.Memory, Platform: 2})
		require.NoError(t, err)
		token := e.NewToken()
		c := &http.Client{Transport: e.Transport()}
		send := func(ctx context.Context) (status int, body string, err error) {
			const notification = `{"notifications":[{"tokens":["TOKEN"],"platform":2}]}`
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL()+"/api/push", strings.NewReader(strings.ReplaceAll(notification, "TOKEN", token)))
			require.NoError(t, err)
			resp, err := c.Do(r)
			if err != nil {
				return 0, "", err
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.StatusCode, string(raw), nil
		}
		status, body, err := send(t.Context())
		require.NoError(t, err)
		require.Equal(t, 200, status)
		require.Contains(t, body, `"counts":1`)
		require.Equal(t, time.Now(), (<-e.Pushes(token)).At)

		e.Script(token, emulate.Answer{Status: 503, Body: []byte("x"), RetryAfter: "7", Delay: time.Hour})
		began := time.Now()
		status, body, err = send(t.Context())
		require.NoError(t, err)
		require.Equal(t, 503, status)
		require.Equal(t, "x", body)
		require.Equal(t, time.Hour, time.Since(began))

		e.Script(token, emulate.Answer{Reset: true}, emulate.Answer{Hang: true}, emulate.Answer{Hang: true})
		_, _, err = send(t.Context())
		require.ErrorContains(t, err, "reset")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err = send(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.AfterFunc(time.Minute, e.Close)
		_, _, err = send(t.Context())
		require.ErrorContains(t, err, "reset", "closed with a request in flight")
		_, _, err = send(t.Context())
		require.Error(t, err)
	})
}
