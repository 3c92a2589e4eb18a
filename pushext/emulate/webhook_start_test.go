package emulate_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/emulate"
)

// A receiver that begins again at its port is asked at once, by whoever has something
// left for it: it never says that an endpoint is gone which it was told of.
func TestEndpointsFromTheBeginning(t *testing.T) {
	first, err := emulate.StartWebhook(emulate.WebhookConfig{})
	require.NoError(t, err)
	addr := strings.TrimPrefix(first.URL(), "http://")
	first.Close()

	const path = "/hook/mine"
	endpoints := map[string][]byte{path: []byte("secret")}
	for i := range 2000 { // so that it has something to do at first
		endpoints[fmt.Sprint("/hook/", i)] = []byte("secret")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	stop, statuses := make(chan struct{}), make(chan map[int]int, 1)
	go func() {
		seen := make(map[int]int)
		defer func() { statuses <- seen }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			resp, err := client.Post("http://"+addr+path, "application/json", strings.NewReader("{}"))
			if err != nil {
				continue // between two receivers
			}
			resp.Body.Close()
			seen[resp.StatusCode]++
		}
	}()
	over := sync.OnceFunc(func() { close(stop) })
	defer over()
	for range 100 {
		hook, err := emulate.StartWebhook(emulate.WebhookConfig{Addr: addr, Endpoints: endpoints})
		require.NoError(t, err)
		resp, err := client.Post(hook.URL()+path, "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "known, and not signed")
		hook.Close()
	}
	over()
	seen := <-statuses
	require.NotContains(t, seen, http.StatusGone)
	t.Logf("answers to what came while it began, 100 times: %v", seen)
}
