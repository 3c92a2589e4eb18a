package node

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// strangers hold links to a node that carry nothing: each speaks as much of devp2p and Whisper as keeps a link alive,
// and connects again when it ends.
type strangers struct {
	node    *enode.Node
	mute    bool         // they say nothing of Whisper
	linked  atomic.Int64 // links that stand
	links   atomic.Int64 // that stood in all
	stopped func()
}

const (
	devp2pVersion = 5
	helloCode     = 0
	discCode      = 1
	pingCode      = 2
	pongCode      = 3
	baseCodes     = 16 // of devp2p itself
)

// beset has n strangers, who may be mute, connect, each from an address of its own, and again after a pause: on the internet the node
// would not accept one before half a minute.
func beset(t *testing.T, node *enode.Node, n int, mute bool, pause time.Duration, address func(i int) net.IP) *strangers {
	ctx, cancel := context.WithCancel(t.Context())
	s := &strangers{node: node, mute: mute}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				s.hold(ctx, address(i))
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	s.stopped = func() {
		cancel()
		all.Wait()
	}
	t.Cleanup(s.stopped)
	return s
}

// hold connects and keeps the link until it ends.
func (s *strangers) hold(ctx context.Context, from net.IP) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
	endpoint, _ := s.node.TCPEndpoint()
	fd, err := dialer.DialContext(ctx, "tcp", endpoint.String())
	if err != nil {
		return
	}
	defer fd.Close()
	defer context.AfterFunc(ctx, func() { fd.Close() })()
	key, err := crypto.GenerateKey()
	if err != nil {
		return
	}
	conn := rlpx.NewConn(fd, s.node.Pubkey())
	if _, err = conn.Handshake(key); err != nil {
		return
	}
	if err := s.greet(conn, key); err != nil {
		return
	}
	s.linked.Add(1)
	s.links.Add(1)
	defer s.linked.Add(-1)
	for {
		code, _, _, err := conn.Read()
		if err == nil && code == pingCode {
			_, err = conn.Write(pongCode, []byte{0xc0})
		}
		if err != nil || code == discCode {
			return
		}
	}
}

// greet makes the handshakes of devp2p and of Whisper.
func (s *strangers) greet(conn *rlpx.Conn, key *ecdsa.PrivateKey) error {
	hello, err := rlp.EncodeToBytes([]any{
		uint64(devp2pVersion), "stranger", []p2p.Cap{{Name: whisper.ProtocolName, Version: whisper.ProtocolVersion}}, uint64(0),
		crypto.FromECDSAPub(&key.PublicKey)[1:],
	})
	if err != nil {
		return err
	}
	if _, err := conn.Write(helloCode, hello); err != nil {
		return err
	}
	if code, _, _, err := conn.Read(); err != nil || code != helloCode {
		return fmt.Errorf("no greeting, but code %d: %w", code, err)
	}
	conn.SetSnappy(true)
	if s.mute {
		return nil
	}
	status, err := rlp.EncodeToBytes([]any{uint64(whisper.ProtocolVersion)})
	if err != nil {
		return err
	}
	_, err = conn.Write(baseCodes+whisper.StatusPacket, status)
	return err
}

// metric is the sum of a metric.
func (w *world) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := w.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// TestAttackIdleLinks: strangers hold all places that there are for links that others open, with the settings
// that a node has by itself, and hurry to take each that gets free. A phone registers, proves its address, is woken
// and fetches all the same, each time within 15 s.
func TestAttackIdleLinks(t *testing.T) {
	const limit = 15 * time.Second
	for name, address := range map[string]func(i int) net.IP{
		"one network":   func(i int) net.IP { return net.IPv4(127, 9, byte(i), 1) },
		"many networks": func(i int) net.IP { return net.IPv4(127, byte(10+i), 0, 1) },
	} {
		for _, attack := range []struct {
			n    int
			mute bool
		}{{34, false}, {50, false}, {50, true}} {
			n := attack.n
			t.Run(fmt.Sprintf("%d from %s, mute %v", n, name, attack.mute), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.cfg.Push.Enabled = true
				require.NoError(t, w.cfg.Validate())
				s := &Node{source: func(addr netip.Addr, _ enode.ID) whisper.Source {
					network, _ := addr.Unmap().Prefix(16) // the whole of 127.0.0.0/8 is this computer
					return whisper.Source(network.String())
				}}
				s.cfg.Store(&w.cfg)
				t.Cleanup(s.Stop)
				require.NoError(t, s.build(w.cfg, NewLogger(&w.log, w.cfg.Log)))
				w.Node = s

				const places = 34 // of 50 peers a third is dialled
				all := beset(t, s.link.Self(), n, attack.mute, time.Second, address)
				besieged := func() {
					t.Helper()
					require.Eventually(t, func() bool { return all.linked.Load() >= places }, 30*time.Second, time.Millisecond)
				}
				besieged()
				within := func(what string, f func()) {
					t.Helper()
					start := time.Now()
					f()
					require.Less(t, time.Since(start), limit, what)
				}
				d := w.device(t, w.PushKey())
				within("register", func() {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					require.NoError(t, d.Register(ctx, client.Registration{
						Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(w.token)}},
					}))
					_, err := d.Receive(ctx, w.ring(t))
					require.NoError(t, err)
					require.True(t, d.Active())
				})
				for i := range 5 {
					d.Sleep()
					besieged()
					text := fmt.Sprint("message ", i)
					within("fetch", func() {
						w.post(t, text)
						require.Equal(t, []string{text}, shows(t, d, w.ring(t)))
					})
				}
				require.LessOrEqual(t, w.metric(t, "whisperpush_whisper_inbound_links"), float64(places))
				require.Positive(t, w.metric(t, "whisperpush_whisper_links_evicted_total"))
				t.Logf("%d strangers took %d links; %v gave way", n, all.links.Load(), w.metric(t, "whisperpush_whisper_links_evicted_total"))
			})
		}
	}
}
