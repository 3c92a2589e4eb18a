package dispatch_test

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/apns"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/hms"
	"whisperpush/pushext/pushserver/dispatch"
	"whisperpush/pushext/pushwire"
)

// platforms are real providers before the push services that they are for.
func platforms(t *testing.T) map[string]func(t *testing.T) (pushext.Provider, *emulate.Service) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	client := func(s *emulate.Service) *http.Client { return &http.Client{Transport: s.Transport()} }
	return map[string]func(t *testing.T) (pushext.Provider, *emulate.Service){
		"apns": func(t *testing.T) (pushext.Provider, *emulate.Service) {
			e, err := emulate.StartAPNS(emulate.APNSConfig{Addr: emulate.Memory})
			require.NoError(t, err)
			p, err := apns.New(apns.Config{Endpoint: e.URL(), Topic: e.Topic(), TeamID: e.TeamID(), KeyID: e.KeyID(), Key: e.KeyPEM(), HTTPClient: client(e.Service)})
			require.NoError(t, err)
			return p, e.Service
		},
		"fcm": func(t *testing.T) (pushext.Provider, *emulate.Service) {
			e, err := emulate.StartFCM(emulate.FCMConfig{Addr: emulate.Memory, Key: key})
			require.NoError(t, err)
			p, err := fcm.New(fcm.Config{Endpoint: e.Endpoint(), CredentialsJSON: e.CredentialsJSON(), HTTPClient: client(e.Service)})
			require.NoError(t, err)
			return p, e.Service
		},
		"hms": func(t *testing.T) (pushext.Provider, *emulate.Service) {
			e, err := emulate.StartHMS(emulate.HMSConfig{Addr: emulate.Memory})
			require.NoError(t, err)
			p, err := hms.New(hms.Config{Endpoint: e.URL(), TokenURL: e.TokenURL(), AppID: e.AppID(), AppSecret: e.AppSecret(), HTTPClient: client(e.Service)})
			require.NoError(t, err)
			return p, e.Service
		},
	}
}

// received opens what came to a device's app.
func received(t *testing.T, pushes <-chan emulate.Push) (list []pushwire.Payload) {
	t.Helper()
	synctest.Wait()
	for {
		select {
		case p := <-pushes:
			require.False(t, p.Deleted, "never so many that the service drops them")
			payload, err := pushwire.OpenPayload(p.Body, nil)
			require.NoError(t, err)
			list = append(list, payload)
		default:
			return list
		}
	}
}

// TestPlatformsOverwriteWithoutLoss shows that every push repeats everything that
// was not fetched: while a phone is off, its platform keeps little of what it
// accepted, and loses that as well at times, and still the next push names all.
func TestPlatformsOverwriteWithoutLoss(t *testing.T) {
	for name, platform := range platforms(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, service := platform(t)
				t.Cleanup(service.Close)
				token := service.NewToken()
				pushes := service.Pushes(token)
				s := dispatch.NewScene(t, dispatch.Delivery{SilentAfter: -1}, p, token)
				var all []common.Hash // newest first
				archive := func() {
					all = append([]common.Hash{s.Archive(1)}, all...)
					time.Sleep(time.Minute)
				}

				// Awake: one push for each envelope.
				archive()
				got := received(t, pushes)
				require.Len(t, got, 1)
				require.Equal(t, all, got[0].Hashes)
				require.NoError(t, s.Fetched(1, all))
				all = nil

				// Off for a while: the platform keeps the newest, which names all.
				service.Disconnect(token)
				before := service.Accepted()
				for range 7 {
					archive()
				}
				s.Dismiss(1, common.Hash{1}) // of which APNs would keep nothing else
				time.Sleep(time.Minute)
				require.Empty(t, received(t, pushes))
				require.GreaterOrEqual(t, service.Accepted()-before, 7)
				require.LessOrEqual(t, len(service.Stored(token)), 3, "of those it keeps few")
				service.Connect(token)
				got = received(t, pushes)
				require.NotEmpty(t, got)
				named := make(map[common.Hash]bool)
				for _, payload := range got {
					for _, h := range payload.Hashes {
						named[h] = true
					}
				}
				for _, h := range all {
					require.True(t, named[h], "every envelope is named by what was kept")
				}

				// Off, and the platform loses what it kept. The next push repairs that too.
				service.Disconnect(token)
				archive()
				lost := service.Stored(token)
				require.NotEmpty(t, lost)
				service.Forget(token)
				service.Connect(token)
				require.Empty(t, received(t, pushes))
				archive()
				got = received(t, pushes)
				require.NotEmpty(t, got)
				latest := got[len(got)-1]
				require.Equal(t, all, latest.Hashes, "all nine, with the number of a push that never came before")
				require.False(t, latest.More)
				require.Greater(t, latest.Seq, uint64(9), "a gap that the client detects")

				require.NoError(t, s.Fetched(1, all))
				time.Sleep(time.Hour)
				for _, payload := range received(t, pushes) {
					require.Equal(t, pushwire.Dismiss, payload.Kind, "nothing is left but what waited for the fetch")
				}
			})
		})
	}
}
