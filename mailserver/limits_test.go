package mailserver

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/desk"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// hold makes a peer take nothing until the returned function is called.
func (b *bench) hold(peers ...enode.ID) (release func()) {
	gate := make(chan struct{})
	b.sender.gates = make(map[enode.ID]chan struct{})
	for _, p := range peers {
		b.sender.gates[p] = gate
	}
	return func() { close(gate) }
}

// TestOneAtATime: a peer's requests are answered one after the other, and others
// are not kept waiting by them.
func TestOneAtATime(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Workers, cfg.Limits.PeerQueue = 2, 3 }, func(t *testing.T, b *bench) {
		want := b.fill(3)
		release := b.hold(bob)
		b.ask(bob, all(mailwire.List))
		synctest.Wait()
		for range 4 {
			b.ask(bob, all(mailwire.List))
		}
		synctest.Wait()
		require.Equal(t, 3, b.server.desk.Waiting(), "one is out, three wait, one was refused")
		b.ask(carol, all(mailwire.Classic))
		synctest.Wait()
		got, _ := b.sender.take(carol)
		require.Equal(t, want, got)

		release()
		synctest.Wait()
		got, ends := b.sender.take(bob)
		require.Len(t, got, 3*4)
		require.Len(t, ends, 5)
		require.Equal(t, 4, b.counted("list", answered))
		require.Equal(t, 1, b.counted("list", busy))
		refused := slices.DeleteFunc(ends, func(c mailwire.Complete) bool { return c.Refusal == "" })
		require.Len(t, refused, 1)
		require.Equal(t, desk.Retry, refused[0].Refusal.RetryAfter())
	})
}

// TestSlowReader: a peer that reads nothing is given up after SendTimeout, and
// holds a worker for a moment only.
func TestSlowReader(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Workers, cfg.Limits.SendTimeout = 1, 5*time.Second }, func(t *testing.T, b *bench) {
		want := b.fill(3)
		b.hold(bob)
		b.ask(bob, all(mailwire.List))
		synctest.Wait()
		b.ask(carol, all(mailwire.Classic))
		synctest.Wait()
		got, _ := b.sender.take(carol)
		require.Empty(t, got, "the only worker waits for bob")
		time.Sleep(desk.Stall)
		synctest.Wait()
		got, _ = b.sender.take(carol)
		require.Equal(t, want, got)
		require.Zero(t, b.counted("list", undelivered))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, b.counted("list", undelivered))
	})
}

// TestSlowReadersHoldNoWorkers: however many peers read nothing, and however often
// they ask, an honest one waits for their share of moments and not for their
// timeouts; a peer that is slow but reads gets its answer.
func TestSlowReadersHoldNoWorkers(t *testing.T) {
	const workers, slow = 4, 50
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Workers = workers }, func(t *testing.T, b *bench) {
		b.fill(3)
		var peers []enode.ID
		for i := range slow {
			peers = append(peers, enode.ID{1, byte(i)})
		}
		b.hold(peers...)
		for range 4 {
			for _, p := range peers {
				b.ask(p, all(mailwire.List))
				b.ask(p, mailwire.Request{Form: mailwire.List, Lower: 2, Upper: 1}) // to be refused
			}
		}
		for range 10 {
			began := time.Now()
			b.ask(carol, all(mailwire.List))
			for _, ends := b.sender.take(carol); len(ends) == 0; _, ends = b.sender.take(carol) {
				time.Sleep(desk.Stall / 10)
				synctest.Wait()
			}
			require.LessOrEqual(t, time.Since(began), (slow/workers+2)*desk.Stall)
		}
		require.Positive(t, b.counted("list", undelivered), "who was slowest was given up")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Zero(t, b.server.desk.Stalled())
		require.Zero(t, b.server.desk.Waiting())
	})

	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Workers = 1 }, func(t *testing.T, b *bench) {
		want := b.fill(3)
		release := b.hold(bob)
		b.ask(bob, all(mailwire.List))
		time.Sleep(10 * time.Second) // a bad moment
		release()
		synctest.Wait()
		got, ends := b.sender.take(bob)
		require.ElementsMatch(t, want, got)
		require.Len(t, ends, 1)
	})
}

func TestTimeout(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Timeout = 3 * time.Second }, func(t *testing.T, b *bench) {
		b.fill(3)
		b.hold(bob)
		b.ask(bob, all(mailwire.Classic))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, b.counted("classic", undelivered))
	})
}

func TestRequestRate(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.PeerRequests = 6 }, func(t *testing.T, b *bench) {
		b.fill(1)
		for range 6 {
			_, end := b.answer(all(mailwire.List))
			require.Empty(t, end.Refusal)
		}
		got, end := b.answer(all(mailwire.List))
		require.Empty(t, got)
		require.Equal(t, mailwire.RefusedBusy, end.Refusal.Word())
		require.Equal(t, 10*time.Second, end.Refusal.RetryAfter())
		got, _ = b.answer(all(mailwire.Classic))
		require.Empty(t, got, "dropped: it cannot be refused")
		require.Equal(t, 1, b.counted("classic", busy))

		b.ask(carol, all(mailwire.Classic))
		synctest.Wait()
		got, _ = b.sender.take(carol)
		require.Len(t, got, 1, "the limit is bob's")

		time.Sleep(end.Refusal.RetryAfter())
		got, _ = b.answer(all(mailwire.List))
		require.Len(t, got, 1)
	})
}

// TestQueueIsBounded: many peers at once, none of which reads.
func TestQueueIsBounded(t *testing.T) {
	inBench(t, func(cfg *ServerConfig) { cfg.Limits.Workers, cfg.Limits.Queue = 2, 10 }, func(t *testing.T, b *bench) {
		b.fill(1)
		var peers []enode.ID
		for i := range 200 {
			peers = append(peers, enode.ID{1, byte(i)})
		}
		release := b.hold(peers...)
		for _, p := range peers {
			b.ask(p, all(mailwire.List))
		}
		synctest.Wait()
		require.LessOrEqual(t, b.server.desk.Waiting(), 10)
		release()
		time.Sleep(time.Minute)
		synctest.Wait()
		total := b.counted("list", answered) + b.counted("list", busy) + b.counted("unknown", busy)
		require.Equal(t, 200, total, "every one is answered, refused or counted")
		require.GreaterOrEqual(t, b.counted("list", answered), 10)
	})
}

// TestAttackOneNetworkFillsTheQueue: many peers of one network fill the queue with
// requests, and do not read. Others notice nothing, and those who are refused are
// told.
func TestAttackOneNetworkFillsTheQueue(t *testing.T) {
	inBench(t, nil, func(t *testing.T, b *bench) {
		b.fill(3)
		b.sender.networks = make(map[enode.ID]whisper.Source)
		var peers []enode.ID
		for i := range 200 {
			p := enode.ID{1, byte(i)}
			peers, b.sender.networks[p] = append(peers, p), "one"
		}
		release := b.hold(peers...)
		for range DefaultPeerQueue {
			for _, p := range peers {
				b.ask(p, all(mailwire.List))
			}
		}
		synctest.Wait()
		require.LessOrEqual(t, b.server.desk.Waiting(), DefaultSourceQueue)
		for range 10 {
			began := time.Now()
			_, end := b.answer(all(mailwire.List))
			require.Empty(t, end.Refusal)
			require.Zero(t, time.Since(began))
			time.Sleep(time.Second)
		}
		release()
	})
}

// TestPasswordProves: whoever knows a password that is not public is no stranger.
func TestPasswordProves(t *testing.T) {
	for _, secret := range []bool{false, true} {
		identity, err := crypto.GenerateKey()
		require.NoError(t, err)
		inBench(t, func(cfg *ServerConfig) { cfg.KeyIsSecret, cfg.Identity = secret, identity }, func(t *testing.T, b *bench) {
			b.fill(1)
			b.answer(all(mailwire.List), func(d *whisper.Draft) { d.Key, d.To = nil, &identity.PublicKey })
			require.Empty(t, b.sender.knows)
			b.answer(all(mailwire.List))
			if secret {
				require.Equal(t, []enode.ID{bob}, b.sender.knows)
			} else {
				require.Empty(t, b.sender.knows)
			}
		})
	}
}
