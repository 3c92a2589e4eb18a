package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"whisperpush/pushext/emulate"
)

// receiver is a push service that does as little as possible: it answers every request, and
// knows which devices it was notified for. Both sides of a comparison post to it.
type receiver struct {
	url    string
	server *http.Server
	served chan error

	mu      sync.Mutex      // guards the following fields
	awaited map[string]bool // devices; true: it was notified
	missing int             // devices not notified yet
	posts   int             // posts for awaited devices
	last    time.Time       // when missing last became smaller
	all     chan struct{}   // closed when nothing is missing
}

func startReceiver() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	r.server = &http.Server{Handler: r}
	go func() { r.served <- r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() error {
	err := r.server.Close()
	if served := <-r.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// tokenPath is where our node gets its access token for FCM.
const tokenPath = "/token"

// ServeHTTP takes a request of our node, in FCM's form, or of the rival. Both name the
// device in the first member of their JSON that is called token.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender is gone
	}
	w.Header().Set("Content-Type", "application/json")
	if request.URL.Path == tokenPath {
		io.WriteString(w, `{"access_token":"access","token_type":"Bearer","expires_in":3600}`)
		return
	}
	_, rest, _ := bytes.Cut(body, []byte(`"token":"`))
	device, _, _ := bytes.Cut(rest, []byte(`"`))
	r.tell(device)
	io.WriteString(w, `{"name":"projects/emulated-project/messages/1"}`)
}

func (r *receiver) tell(device []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told, ok := r.awaited[string(device)]
	if !ok {
		return
	}
	r.posts++
	if told {
		return
	}
	r.awaited[string(device)] = true
	r.missing--
	r.last = time.Now()
	if r.missing == 0 {
		close(r.all)
	}
}

// expect starts a count: each of the devices is expected to be notified.
func (r *receiver) expect(devices []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaited = make(map[string]bool, len(devices))
	for _, d := range devices {
		r.awaited[d] = false
	}
	r.missing, r.posts, r.last, r.all = len(r.awaited), 0, time.Time{}, make(chan struct{})
}

// come waits until all expected devices were notified, and returns when the last of them
// was, and how many requests there were for them.
func (r *receiver) come(ctx context.Context) (last time.Time, posts int, err error) {
	r.mu.Lock()
	all := r.all
	r.mu.Unlock()
	stalled := time.NewTicker(wakingStalls)
	defer stalled.Stop()
	for before := -1; ; {
		select {
		case <-all:
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.last, r.posts, nil
		case <-stalled.C:
			r.mu.Lock()
			missing := r.missing
			r.mu.Unlock()
			if missing == before {
				return last, 0, fmt.Errorf("%d devices were not told of, and none was for %v", missing, wakingStalls)
			}
			before = missing
		case <-ctx.Done():
			return last, 0, context.Cause(ctx)
		}
	}
}

// endpoint is FCM's API as a node's setting has it.
func (r *receiver) endpoint() string { return r.url + "/v1" }

// credentials are those of a service account, with the receiver's path for access tokens.
func (r *receiver) credentials(service *emulate.FCM) ([]byte, error) {
	var account map[string]string
	if err := json.Unmarshal(service.CredentialsJSON(), &account); err != nil {
		return nil, err
	}
	account["token_uri"] = r.url + tokenPath
	return json.Marshal(account)
}
