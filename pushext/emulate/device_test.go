package emulate_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
)

// phone is one device and a provider that pushes to it, in fake time.
type phone struct {
	t        *testing.T
	provider pushext.Provider
	service  *emulate.Service
	token    string
	pushes   <-chan emulate.Push
}

func newPhone(t *testing.T, p pushext.Provider, s *emulate.Service) *phone {
	t.Cleanup(s.Close)
	token := s.NewToken()
	return &phone{t, p, s, token, s.Pushes(token)}
}

func newIPhone(t *testing.T) *phone {
	e, err := emulate.StartAPNS(emulate.APNSConfig{Addr: emulate.Memory})
	require.NoError(t, err)
	p, err := apns.New(apns.Config{
		Endpoint: e.URL(), Topic: e.Topic(), TeamID: e.TeamID(), KeyID: e.KeyID(), Key: e.KeyPEM(),
		HTTPClient: &http.Client{Transport: e.Transport()},
	})
	require.NoError(t, err)
	return newPhone(t, p, e.Service)
}

func newAndroid(t *testing.T, key *rsa.PrivateKey) *phone {
	e, err := emulate.StartFCM(emulate.FCMConfig{Addr: emulate.Memory, Key: key})
	require.NoError(t, err)
	p, err := fcm.New(fcm.Config{Endpoint: e.Endpoint(), CredentialsJSON: e.CredentialsJSON(), HTTPClient: &http.Client{Transport: e.Transport()}})
	require.NoError(t, err)
	return newPhone(t, p, e.Service)
}

// push sends a numbered push with a collapse id, or without any.
func (p *phone) push(number int, collapse string, ttl time.Duration) {
	p.t.Helper()
	v := p.provider.Push(p.t.Context(), pushext.Notification{
		Address: pushext.Address{Token: p.token}, Body: fmt.Appendf(nil, `{"n":%d}`, number), CollapseID: collapse, Unreplaced: collapse == "",
		TTL: ttl, Urgent: true, Visible: true, ID: "id",
	})
	require.Equal(p.t, pushext.Delivered, v.Class, v.Reason)
}

// got lists the numbers of the pushes that came; -1 is that the service dropped some.
func (p *phone) got() []int {
	p.t.Helper()
	synctest.Wait()
	return numbers(p.t, drain(p.pushes))
}

func drain(pushes <-chan emulate.Push) (list []emulate.Push) {
	for {
		select {
		case p := <-pushes:
			list = append(list, p)
		default:
			return list
		}
	}
}

func numbers(t *testing.T, pushes []emulate.Push) (list []int) {
	for _, p := range pushes {
		if p.Deleted {
			list = append(list, -1)
			continue
		}
		var body struct {
			N int `json:"n"`
		}
		require.NoError(t, json.Unmarshal(p.Body, &body))
		list = append(list, body.N)
	}
	return list
}

func TestAPNSKeepsOnePush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIPhone(t)
		p.push(1, "a", time.Hour)
		require.Equal(t, []int{1}, p.got())
		p.service.Disconnect(p.token)
		p.push(2, "a", time.Hour)
		p.push(3, "a", time.Hour)
		p.push(4, "b", time.Hour)
		require.Empty(t, p.got())
		require.Equal(t, []int{4}, numbers(t, p.service.Stored(p.token)), "the newest, whatever its collapse id")
		p.push(5, "a", 0)
		require.Equal(t, []int{4}, numbers(t, p.service.Stored(p.token)), "apns-expiration 0 is not stored")
		p.service.Connect(p.token)
		require.Equal(t, []int{4}, p.got())
		require.Equal(t, 5, p.service.Accepted())

		p.service.Disconnect(p.token)
		p.push(6, "a", time.Hour)
		time.Sleep(time.Hour)
		p.service.Connect(p.token)
		require.Empty(t, p.got(), "expired")
		for i := range 50 { // of what is delivered at once nothing is held back
			p.push(i, "a", time.Hour)
		}
		require.Len(t, p.got(), 50)
	})
}

func TestFCMStorage(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	t.Run("collapse keys", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newAndroid(t, key)
			p.service.Disconnect(p.token)
			for i, key := range []string{"a", "b", "a", "c", "d", "a", "e", "f"} {
				p.push(i, key, time.Hour)
			}
			p.push(100, "", time.Hour)
			p.push(101, "g", 0)
			require.Equal(t, []int{4, 5, 6, 7, 100}, numbers(t, p.service.Stored(p.token)), "the newest of four keys, and what has none")
			p.service.Connect(p.token)
			require.Equal(t, []int{4, 5, 6, 7, 100}, p.got())
		})
	})
	t.Run("too many pending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newAndroid(t, key)
			p.service.Disconnect(p.token)
			for i := range 100 {
				p.push(i, "", time.Hour)
			}
			require.Len(t, p.service.Stored(p.token), 100)
			p.push(100, "", time.Hour)
			require.Empty(t, p.service.Stored(p.token))
			p.push(101, "", time.Hour)
			p.service.Connect(p.token)
			require.Equal(t, []int{-1, 101}, p.got(), "the app is told")
			p.push(102, "", time.Hour)
			require.Equal(t, []int{102}, p.got())
		})
	})
	t.Run("throttle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newAndroid(t, key)
			for i := range 30 {
				p.push(i, "a", time.Hour)
			}
			p.push(100, "", time.Hour)
			p.push(101, "b", 0)
			require.Len(t, p.got(), 22, "neither what has no key nor what is now or never is held back")
			p.push(30, "b", time.Hour)
			time.Sleep(3 * time.Minute)
			require.Equal(t, []int{29}, p.got(), "the newest of a key, when one more may go")
			time.Sleep(3*time.Minute - 1)
			require.Empty(t, p.got())
			time.Sleep(time.Nanosecond)
			require.Equal(t, []int{30}, p.got())
			throttled := 0
			for _, push := range p.service.Received() {
				if push.Throttled {
					throttled++
				}
			}
			require.Equal(t, 11, throttled)

			p.push(40, "a", time.Hour)
			p.service.Disconnect(p.token)
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			require.Equal(t, []int{40}, numbers(t, p.service.Stored(p.token)))
			p.push(41, "a", time.Minute)
			time.Sleep(time.Hour)
			p.service.Connect(p.token)
			require.Empty(t, p.got(), "expired")
			for i := range 20 {
				p.push(i, "a", time.Hour)
			}
			require.Len(t, p.got(), 20, "an hour refilled it")
			p.push(50, "a", time.Hour)
			p.service.Unregister(p.token)
			time.Sleep(time.Hour)
		})
	})
}

// TestControlConnection takes a device off the network as another process would.
func TestControlConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newIPhone(t)
		c := &http.Client{Transport: p.service.Transport()}
		put := func(token, online string) int {
			query := url.Values{"token": {token}, "online": {online}}
			r, err := http.NewRequest(http.MethodPut, p.service.URL()+emulate.ControlPath+"devices?"+query.Encode(), strings.NewReader(""))
			require.NoError(t, err)
			resp, err := c.Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			return resp.StatusCode
		}
		require.Equal(t, 404, put("nobody", "true"))
		require.Equal(t, 400, put(p.token, "maybe"))
		require.Equal(t, 204, put(p.token, "false"))
		p.push(1, "a", time.Hour)
		require.Empty(t, p.got())
		require.Equal(t, 204, put(p.token, "true"))
		require.Equal(t, []int{1}, p.got())
	})
}
