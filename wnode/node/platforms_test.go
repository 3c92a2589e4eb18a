package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/loopback"
	"whisperpush/whisper"
)

// watched is a device in a test, and what its push service saw.
type watched struct {
	*client.Device
	service *emulate.Instance
	token   string
	saw     []emulate.Push
}

// next waits for the device's next push.
func (d *watched) next(t *testing.T) emulate.Push {
	t.Helper()
	select {
	case push := <-d.service.Pushes(d.token):
		d.saw = append(d.saw, push)
		return push
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no push within 20 s")
		return emulate.Push{}
	}
}

// receive hands the next push to the device, which gets what it tells of.
func (d *watched) receive(t *testing.T) client.Event {
	t.Helper()
	event, err := d.Receive(t.Context(), d.next(t).Body)
	require.NoError(t, err)
	return event
}

// Every push service as an observer of two devices of one person, through
// challenges, wake-ups, repetitions after its own failures, and dismissals: it sees
// bodies of one size that share nothing, no byte that is public, and no id by
// which the two could be joined.
func TestEveryPlatformObserver(t *testing.T) {
	for _, kind := range emulate.Types() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			service, paths := emulated(t, kind)
			cfg := loopback.Config(t)
			var listed config.Config
			loadTable(t, service.Table(paths), &listed)
			cfg.Push.Enabled, cfg.Push.Provider = true, listed.Push.Provider
			cfg.Push.Delivery.Every, cfg.Push.Delivery.Burst = 0, 100
			s, err := Start(cfg, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			t.Cleanup(s.Stop)

			group := client.NewGroup()
			join := func() *watched {
				to, err := service.NewDevice()
				require.NoError(t, err)
				d, err := client.Open(t.Context(), client.Config{
					Server: s.link.Self().URLv4(), PushKey: compressedHex(s.PushKey()), Chats: []client.Chat{loopChat()},
				})
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, d.Close()) })
				w := &watched{Device: d, service: service, token: to.Token}
				require.NoError(t, d.Register(t.Context(), client.Registration{
					Routes: []pushwire.Route{{Provider: listed.Push.Provider[0].Name, Address: []byte(to.Address), Keys: to.Keys}}, Group: group,
				}))
				require.Equal(t, pushwire.Challenge, w.receive(t).Kind)
				require.True(t, d.Active())
				return w
			}
			phone, tablet := join(), join()
			var hashes []common.Hash
			write := func() common.Hash {
				e, err := whisper.Seal(t.Context(), whisper.Draft{
					Payload: []byte("Dinner at 7"), Topic: loopChat().Topic, Key: loopChat().Key, PoW: whisper.DefaultMinPoW,
				})
				require.NoError(t, err)
				hashes = append(hashes, e.Hash())
				require.NoError(t, s.whisper.Post(t.Context(), e))
				return e.Hash()
			}
			for range 3 {
				write()
				require.NotEmpty(t, phone.receive(t).Previews)
				require.NotEmpty(t, tablet.receive(t).Previews)
			}
			// The service fails, and is asked again.
			service.Script(phone.token, emulate.Answer{Status: 503})
			read := write()
			require.NotEmpty(t, phone.receive(t).Previews)
			require.NotEmpty(t, tablet.receive(t).Previews)
			// Read here, gone there.
			require.NoError(t, phone.Seen(t.Context(), []common.Hash{read}))
			gone := tablet.receive(t)
			require.Equal(t, pushwire.Dismiss, gone.Kind)
			require.Equal(t, []common.Hash{read}, gone.Dismissed)

			var sealed [][]byte
			ids := make(map[string]string) // collapse and message ids, and whose they are
			topic := loopChat().Topic
			for name, d := range map[string]*watched{"phone": phone, "tablet": tablet} {
				for _, push := range d.saw {
					require.Len(t, push.Body, len(phone.saw[0].Body), "every body has one size")
					blob := openJSON(t, push)
					require.Len(t, blob, pushwire.SealedSize)
					sealed = append(sealed, blob)
					for _, known := range append([][]byte{topic[:], []byte(topic.String()), []byte("family"), group}, known(hashes)...) {
						require.False(t, bytes.Contains(push.Raw, known), "a push shows what is public")
						require.False(t, bytes.Contains(blob, known), "a sealed payload shows what is public")
					}
					for _, id := range []string{push.CollapseID, push.ID} {
						if len(id) < 8 {
							continue // HMS has 100 collapse keys for everybody
						}
						if owner, seen := ids[id]; seen {
							require.Equal(t, name, owner, "two devices are given one id")
						}
						ids[id] = name
					}
					for header := range push.Header {
						require.False(t, strings.Contains(strings.ToLower(header), "whisper"), header)
					}
				}
			}
			requireUnrelated(t, sealed)
		})
	}
}
