package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
)

// The receiver knows a device in what our provider posts, and in JSON like the rival's; it
// counts requests of devices that it expects, each device once.
func TestReceiverCounts(t *testing.T) {
	r, err := startReceiver()
	require.NoError(t, err)
	defer func() { require.NoError(t, r.close()) }()
	service, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	defer service.Close()
	credentials, err := r.credentials(service)
	require.NoError(t, err)
	provider, err := fcm.New(fcm.Config{Endpoint: r.endpoint(), CredentialsJSON: credentials})
	require.NoError(t, err)
	_, n, err := providerFor(service, "ours:1")
	require.NoError(t, err)

	r.expect([]string{"ours:1", "theirs-2"})
	require.Equal(t, pushext.Delivered, provider.Push(t.Context(), n).Class)
	for _, device := range []string{"theirs-2", "somebody"} {
		answer, err := http.Post(r.url, "application/json", strings.NewReader(`{"message":{"content_topic":"t"},"installation":{"id":"1","delivery_mechanism":{"kind":"fcm","token":"`+device+`"}}}`))
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode)
	}
	last, posts, err := r.come(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, posts)
	require.False(t, last.IsZero())
	require.Zero(t, service.Accepted(), "nothing went to the other service")
}
