package pushserver

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/memlog"
)

// pair are two confirmed devices of one user that listen to topicA.
func (b *bed) pair() (mobile, tablet *phone) {
	mobile, tablet = b.phone("mobile"), b.phone("tablet")
	for _, p := range []*phone{mobile, tablet} {
		g := p.registration(topicA)
		g.Group = []byte("our secret")
		p.join(g)
	}
	return mobile, tablet
}

// owed fetches nothing, says which dismissals came, and returns those that are owed.
func (p *phone) owed(came ...common.Hash) []common.Hash {
	p.t.Helper()
	rep := p.ask(&pushwire.Fetch{Owed: &pushwire.OwedQuery{Dismissed: came}})
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	body := rep.Body.(*pushwire.FetchReply)
	require.NotNil(p.t, body.Owed)
	return body.Owed.Dismissed
}

// A dismissal whose push the service took and lost is named by the reply to every Fetch until
// the device says that it came, however long that takes, and is not by a reply to a device
// that does not ask.
func TestLostDismissalIsRepaired(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		mobile, tablet := b.pair()
		first, second := b.envelope(topicA), b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Empty(t, tablet.owed())
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: hashesOf(first, second)}).Code)
		time.Sleep(time.Minute)
		var dismissals [][]common.Hash
		for _, p := range tablet.payloads() {
			if p.Kind == pushwire.Dismiss {
				dismissals = append(dismissals, p.Hashes)
			}
		}
		require.Equal(t, [][]common.Hash{hashesOf(first, second)}, dismissals, "one push for both")
		require.Empty(t, mobile.owed(), "it knows")

		time.Sleep(5 * 24 * time.Hour) // the outbox forgets what was fetched and what was not
		third := b.envelope(topicA)
		require.Nil(t, tablet.ask(&pushwire.Fetch{Hashes: hashesOf(third)}).Body.(*pushwire.FetchReply).Owed)
		require.Equal(t, hashesOf(first, second), tablet.owed())
		require.Equal(t, hashesOf(first, second), tablet.owed(), "again, as the reply may be lost")
		require.Equal(t, hashesOf(second), tablet.owed(first.Hash()))
		require.Empty(t, tablet.owed(second.Hash(), common.Hash{1}))

		// What is seen days after it came is owed as well, though nothing else is known of it.
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: hashesOf(first)}).Code)
		require.Equal(t, hashesOf(first), tablet.owed())
	})
}

// A server that crashes between a Seen and the push for it owes the dismissal afterwards: it
// was on disk before the Seen was answered.
func TestDismissalSurvivesACrash(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		mobile, tablet := b.pair()
		env := b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: hashesOf(env)}).Code)
		disk := b.disk.Disk().Crash(rand.New(rand.NewPCG(1, 2))).Store("db")
		b.stop()
		b.disk, b.cfg.storage, b.cfg.Registerer = disk, disk, prometheus.NewRegistry()
		b.start()
		time.Sleep(time.Minute)
		require.Equal(t, hashesOf(env), tablet.owed())
		b.restart()
		require.Equal(t, hashesOf(env), tablet.owed())
		require.Empty(t, tablet.owed(env.Hash()))
		b.restart()
		require.Empty(t, tablet.owed())
	})
}

// What a device is owed does not grow: the oldest go first. One that never asks and one that
// registers at another address keep theirs.
func TestDismissalsAreBounded(t *testing.T) {
	bedTest(t, Limits{PeerRate: 1000, PeerBurst: 1000}, func(b *bed) {
		mobile, tablet := b.pair()
		b.envelope(topicA) // a device that never was to be woken has nothing to remove
		var seen []common.Hash
		for i := range 5 {
			var part []common.Hash
			for j := range pushwire.MaxFetch / 2 {
				part = append(part, memlog.Hash(uint64(100*i+j)))
			}
			require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: part}).Code)
			seen = append(seen, part...)
		}
		require.Equal(t, seen[len(seen)-pushwire.MaxFetch:], tablet.owed())
		g := tablet.registration(topicA)
		g.Group, g.Routes[0].Address = []byte("our secret"), []byte("another")
		require.Equal(t, pushwire.OK, tablet.ask(g).Code)
		require.Equal(t, seen[len(seen)-pushwire.MaxFetch:], tablet.owed())
	})
}

// A message that is seen before devices are woken for it wakes nobody, and nothing is owed
// for one that the server knows nobody has.
func TestDismissalOfWhatWaits(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		mobile, tablet := b.pair()
		b.envelope(topicA)
		time.Sleep(time.Minute)
		b.post.take("tablet")
		own := b.letter(topicA)
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: hashesOf(own)}).Code)
		require.Equal(t, hashesOf(own), tablet.owed())
		b.archive.take(own)
		time.Sleep(time.Minute)
		for _, p := range tablet.payloads() {
			require.NotContains(t, p.Hashes, own.Hash())
		}
		require.Empty(t, tablet.owed(), "it was never told of it")
	})
}

// What other shards are to be told is there after a crash, until they were told.
func TestTellingsSurviveACrash(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		require.Empty(t, b.ext.Tellings())
		b.ext.outbox.Tell([]byte("group"), []common.Hash{{1}, {2}})
		b.ext.outbox.Tell([]byte("group"), []common.Hash{{3}})
		require.NoError(t, b.ext.outbox.Synced(context.Background()))
		disk := b.disk.Disk().Crash(rand.New(rand.NewPCG(1, 2))).Store("db")
		b.stop()
		b.disk, b.cfg.storage, b.cfg.Registerer = disk, disk, prometheus.NewRegistry()
		b.start()
		want := []outbox.Telling{{Number: 1, Group: []byte("group"), Hashes: []common.Hash{{1}, {2}}}, {Number: 2, Group: []byte("group"), Hashes: []common.Hash{{3}}}}
		require.Equal(t, want, b.ext.Tellings())
		b.ext.Told(1)
		b.restart()
		require.Equal(t, want[1:], b.ext.Tellings())
		for i := range 2000 {
			b.ext.outbox.Tell([]byte("group"), []common.Hash{{byte(i)}})
		}
		require.Len(t, b.ext.Tellings(), 1024)
	}, func(c *Config) {
		c.Shard = &Shard{Number: 2, Count: UnionShards, Others: lonely{}, Hold: func() error { return nil }}
	})
}
