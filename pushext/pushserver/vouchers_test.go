package pushserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/pushext/voucher"
	"whisperpush/whisper"
)

// shop makes vouchers, one after the other.
func shop(t *testing.T) (key *voucher.Key, buy func() []byte) {
	key, err := voucher.NewKey()
	require.NoError(t, err)
	return key, func() []byte {
		order, err := voucher.NewOrder(key.Public())
		require.NoError(t, err)
		signature, err := key.Sign(order.Blinded())
		require.NoError(t, err)
		bought, err := order.Finish(signature)
		require.NoError(t, err)
		return bought
	}
}

const (
	day      = 24 * time.Hour
	paidTerm = 10 * day
)

// paidTest has a server on which a registration with more than so many channels is paid
// for, for paidTerm.
func paidTest(t *testing.T, free int, test func(b *bed, buy func() []byte)) {
	key, buy := shop(t)
	bedTest(t, Limits{}, func(b *bed) {
		b.cfg.Admission = Vouchers{Keys: []*voucher.PublicKey{key.Public()}, Term: paidTerm, FreeChannels: free}
		b.restart()
		test(b, buy)
	})
}

// expires is when a phone's registration ends, from now.
func (p *phone) expires() time.Duration {
	_, status := p.status()
	return time.Until(time.UnixMilli(int64(status.Expires) * 1000)).Round(time.Hour)
}

// A registration that has to be paid for takes a voucher, ends with what it paid for, and
// is woken until then.
func TestVoucherPaysForARegistration(t *testing.T) {
	paidTest(t, 0, func(b *bed, buy func() []byte) {
		bob := b.phone("bob")
		bob.refused(bob.registration(topicA), pushwire.Unpaid)
		paid := bob.registration(topicA)
		paid.Voucher = buy()
		bob.join(paid)
		require.Equal(t, paidTerm, bob.expires())

		time.Sleep(day)
		renewal := bob.registration(topicA, topicB) // what is paid stays paid, with the voucher or without
		require.Equal(t, pushwire.OK, bob.ask(renewal).Code)
		require.Equal(t, paidTerm-day, bob.expires())
		renewal = bob.registration(topicA)
		renewal.Voucher = paid.Voucher
		require.Equal(t, pushwire.OK, bob.ask(renewal).Code)
		require.Equal(t, paidTerm-day, bob.expires(), "a voucher pays once")

		b.restart()
		renewal = bob.registration(topicA)
		renewal.Voucher = buy()
		require.Equal(t, pushwire.OK, bob.ask(renewal).Code)
		require.Equal(t, 2*paidTerm-day, bob.expires(), "another pays for what comes after")

		b.envelope(topicA)
		time.Sleep(time.Second)
		require.Len(t, b.post.take("bob"), 1)
		time.Sleep(2*paidTerm - day)
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Empty(t, b.post.take("bob"), "it is over")
		bob.refused(bob.registration(topicA), pushwire.Unpaid)
	})
}

// Nobody gets anything for a voucher that somebody else used, or that nobody made.
func TestAttackVoucherUsedTwice(t *testing.T) {
	_, elsewhere := shop(t)
	paidTest(t, 0, func(b *bed, buy func() []byte) {
		bob, mallory := b.phone("bob"), b.phone("mallory")
		paid := bob.registration(topicA)
		paid.Voucher = buy()
		bob.join(paid)
		forged := append([]byte(nil), paid.Voucher...)
		forged[voucher.IDSize] ^= 1
		for what, bad := range map[string][]byte{
			"used before": paid.Voucher, "forged": forged, "another shop's": elsewhere(), "no voucher": []byte("voucher"),
		} {
			g := mallory.registration(topicA)
			g.Voucher = bad
			require.Equal(t, pushwire.Unpaid, mallory.ask(g).Code, what)
		}
		b.restart()
		g := mallory.registration(topicA)
		g.Voucher = paid.Voucher
		mallory.refused(g, pushwire.Unpaid)
		require.Equal(t, paidTerm, bob.expires())
	})
}

// What was paid for is not lost with the registration: its key shows the voucher again.
func TestVoucherAfterTheRegistrationEnded(t *testing.T) {
	paidTest(t, 0, func(b *bed, buy func() []byte) {
		bob := b.phone("bob")
		paid := bob.registration(topicA)
		paid.Voucher, paid.Lifetime = buy(), uint64(2*day/time.Second)
		bob.join(paid)
		time.Sleep(4 * day)
		_, status := bob.status()
		require.Empty(t, status.Routes)
		bob.refused(bob.registration(topicA), pushwire.Unpaid)
		again := bob.registration(topicA)
		again.Voucher = paid.Voucher
		bob.join(again)
		require.Equal(t, paidTerm-4*day, bob.expires())

		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Unregister{Version: again.Version + 1}).Code)
		bob.version++
		again = bob.registration(topicA)
		again.Voucher = paid.Voucher
		bob.join(again)
		require.Equal(t, paidTerm-4*day, bob.expires())
	})
}

// A few channels may be free, and only what is more has to be paid for.
func TestFreeChannels(t *testing.T) {
	paidTest(t, 2, func(b *bed, buy func() []byte) {
		topicC := whisper.Topic{3, 3, 3, 3}
		bob := b.phone("bob")
		bob.join(bob.registration(topicA, topicB))
		require.Greater(t, bob.expires(), paidTerm, "what is free lasts as long as it is asked for")
		more := &pushwire.Channels{Version: bob.version + 1, Channels: []pushwire.Channel{{Topic: topicC}}}
		bob.refused(more, pushwire.Unpaid)
		paid := bob.registration(topicA, topicB)
		paid.Voucher = buy()
		require.Equal(t, pushwire.OK, bob.ask(paid).Code)
		require.Greater(t, bob.expires(), paidTerm)
		bob.version++
		more.Version = bob.version
		require.Equal(t, pushwire.OK, bob.ask(more).Code)
		require.Equal(t, paidTerm, bob.expires())
		bob.refused(func() *pushwire.Register {
			time.Sleep(paidTerm - time.Hour)
			g := bob.registration(topicA, topicB, topicC)
			time.Sleep(2 * time.Hour)
			return g
		}(), pushwire.Unpaid)
		bob.join(bob.registration(topicA))
	})
}
