//go:build linux

package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
)

// memoryBound is how much memory a node may have resident at any time while it is
// overloaded by 250 peers, in bytes. Most of it are the buffers of their links.
const memoryBound = raceMemory << 30

// scaled is the part of a full overload that this run makes.
func scaled(full, least int) int { return max(full**scaleFlag/100, least) }

// crowd is a peer of the overloaded node with a devp2p server of its own.
type crowd struct {
	node *whisper.Node
	mail *mailclient.Client
	link *p2p.Server
}

// join connects a peer.
func join(t testing.TB, server *enode.Node) *crowd {
	t.Helper()
	c := &crowd{mail: mailclient.New(mailclient.Config{Timeout: 30 * time.Second, Retries: 1})}
	var err error
	c.node, err = whisper.NewNode(whisper.Config{Direct: c.mail, Bloom: new(whisper.Bloom), LightNode: true})
	require.NoError(t, err)
	c.mail.Attach(c.node)
	require.NoError(t, c.node.Start())
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	c.link = &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 2, NoDiscovery: true, Name: "crowd",
		Protocols: []p2p.Protocol{devp2p.Protocol(c.node)}, Logger: log.NewLogger(log.DiscardHandler()),
	}}
	require.NoError(t, c.link.Start())
	t.Cleanup(func() { c.node.Stop(); c.link.Stop() })
	c.node.Trust(server.ID())
	c.link.AddPeer(server)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, c.node.WaitPeer(ctx, server.ID()))
	return c
}

// TestOverload does to one node, at the same time, what overloads it: connections
// by the thousand that say nothing or rubbish, peers that ask for everything, peers
// that ask and do not read, and far more envelopes than the disk takes. The node
// stays below memoryBound, keeps its honest peer, refuses in words, and has lost
// nothing that it acknowledged.
func TestOverload(t *testing.T) {
	attempts, askers, slow, envelopes := scaled(10_000, 300), scaled(200, 12), scaled(50, 20), scaled(200_000, 5_000)
	w := newWorld(t, "--maxpeers", "400")
	w.rise()
	defer w.link.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	require.NoError(t, w.enrol(ctx, "honest device"))
	for i := range 3000 { // something to ask for
		require.NoError(t, w.write(ctx, whisper.TopicFor(fmt.Sprint("topic ", i%10)), fmt.Sprint("message ", i)))
	}
	require.Eventually(t, func() bool { return w.process.metric("whisperpush_mailserver_archive_newest_sequence") >= 3000 }, patience, 50*time.Millisecond)

	var peers []*crowd
	for range askers {
		peers = append(peers, join(t, w.process.server))
	}
	p := &progress{t: t}
	p.line("%d peers connected", len(peers))

	var wg sync.WaitGroup
	var refusedConnections, refusals, answers, failures, slowest atomic.Int64
	// Connections: they say nothing, or rubbish, and stay as long as they may.
	work := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range work {
				conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", w.site.port), 10*time.Second)
				if err != nil {
					refusedConnections.Add(1)
					continue
				}
				if i%2 == 0 {
					conn.Write(make([]byte, 400))
				}
				conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				conn.Read(make([]byte, 1))
				conn.Close()
			}
		})
	}
	wg.Go(func() {
		defer close(work)
		for i := range attempts {
			select {
			case work <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	// Slow readers: they ask, and read nothing. There are more of them than workers.
	for range slow {
		stop := askAndSleep(t, w)
		defer stop()
	}
	// Wide questions: everything there is, again and again.
	for _, c := range peers {
		wg.Go(func() {
			server := mailclient.Server{ID: w.process.server.ID(), PublicKey: w.process.server.Pubkey()}
			for range 8 {
				began := time.Now()
				_, err := c.mail.Ask(ctx, server, mailclient.Since(mailwire.Cursor{}))
				switch refused := (*mailclient.RefusedError)(nil); {
				case err == nil:
					answers.Add(1)
					for took, most := int64(time.Since(began)), slowest.Load(); took > most && !slowest.CompareAndSwap(most, took); most = slowest.Load() {
					}
				case errors.As(err, &refused):
					refusals.Add(1)
				default:
					failures.Add(1)
				}
			}
		})
	}
	// One peer asks little, and far too often.
	greedy := join(t, w.process.server)
	wg.Go(func() {
		server := mailclient.Server{ID: w.process.server.ID(), PublicKey: w.process.server.Pubkey()}
		for range 160 { // a peer has mailserver.DefaultPeerRequests a minute
			_, err := greedy.mail.Ask(ctx, server, mailclient.Hashes(common.Hash{1}))
			if refused := (*mailclient.RefusedError)(nil); errors.As(err, &refused) {
				refusals.Add(1)
			}
		}
	})
	// Ten times what the disk takes: as fast as one link carries it.
	wg.Go(func() {
		for i := range envelopes {
			if w.write(ctx, whisper.TopicFor(fmt.Sprint("flood ", i%100)), fmt.Sprint("flood ", i)) != nil {
				return
			}
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Second):
			require.True(t, w.process.alive(), w.process.stderr)
			p.line("%d answers, %d refusals, %d MiB at most", answers.Load(), refusals.Load(), w.process.peakMemory()>>20)
		case <-w.process.exited:
			require.FailNow(t, "the node ended by itself", "%v\n%s", w.process.err, w.process.stderr)
		}
	}
	peak := w.process.peakMemory()
	require.Less(t, peak, int64(memoryBound), "resident memory")
	require.Len(t, w.node.Peers(), 1, "the honest peer was dropped")
	for _, c := range peers {
		require.Len(t, c.node.Peers(), 1, "a peer that only asked much was dropped")
	}
	require.Positive(t, answers.Load())
	require.Positive(t, refusals.Load(), "nobody was refused in words")
	// The honest device is woken for what is written to it, still.
	require.NoError(t, w.write(ctx, whisper.TopicFor("honest device"), "after the storm"))
	require.Eventually(t, func() bool {
		require.NoError(t, w.audit(ctx))
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.devices[0].wakeups > 0
	}, patience, 100*time.Millisecond)
	w.auditAll()
	busy := w.process.metric(`whisperpush_mailserver_requests_total{form="list",outcome="busy"}`)
	w.process.stop()
	result(t, "%d connection attempts (%d refused by the kernel), %d peers asked for everything: %d answers, the slowest after %v, %d refusals in words, %d others, %.0f busy; %d slow readers; %d envelopes archived; %d MiB at most of %d",
		attempts, refusedConnections.Load(), askers, answers.Load(), time.Duration(slowest.Load()).Round(time.Millisecond), refusals.Load(), failures.Load(), busy, slow, len(w.acked), peak>>20, memoryBound>>20)
}

// askAndSleep connects a peer that asks for everything many times and reads no answer.
func askAndSleep(t testing.TB, w *world) (stop func()) {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	hold := make(chan struct{})
	ready := make(chan struct{})
	var once sync.Once
	protocol := p2p.Protocol{Name: whisper.ProtocolName, Version: whisper.ProtocolVersion, Length: whisper.ProtocolLength,
		Run: func(_ *p2p.Peer, rw p2p.MsgReadWriter) error {
			status, err := rw.ReadMsg()
			if err != nil {
				return err
			}
			payload := make([]byte, status.Size)
			if _, err := io.ReadFull(status.Payload, payload); err != nil {
				return err
			}
			// The same status back: everything is wanted.
			if err := p2p.Send(rw, whisper.StatusPacket, rlp.RawValue(payload)); err != nil {
				return err
			}
			for range 16 {
				payload, err := mailclient.Since(mailwire.Cursor{}).Encode()
				if err != nil {
					return err
				}
				request, err := whisper.Seal(context.Background(), whisper.Draft{Payload: payload, To: w.process.server.Pubkey(), Sign: key})
				if err != nil {
					return err
				}
				if err := p2p.Send(rw, whisper.RequestPacket, rlp.RawValue(request.Raw())); err != nil {
					return err
				}
			}
			once.Do(func() { close(ready) })
			<-hold
			return nil
		}}
	link := &p2p.Server{Config: p2p.Config{PrivateKey: key, MaxPeers: 1, NoDiscovery: true, Name: "slow",
		Protocols: []p2p.Protocol{protocol}, Logger: log.NewLogger(log.DiscardHandler())}}
	require.NoError(t, link.Start())
	link.AddPeer(w.process.server)
	select {
	case <-ready:
	case <-time.After(patience):
		require.FailNow(t, "a slow reader could not connect")
	}
	return func() { close(hold); link.Stop() }
}
