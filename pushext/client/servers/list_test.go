package servers

import (
	"crypto/ecdsa"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
)

var testNow = time.Unix(1_800_000_000, 0)

// offerOf is an offer of a server with a key, at an address, issued some seconds ago.
func offerOf(key *ecdsa.PrivateKey, ip string, age int) client.Discovered {
	id := fmt.Sprintf("%x", crypto.FromECDSAPub(&key.PublicKey)[1:])
	return client.Discovered{PushKey: &key.PublicKey, Offer: pushwire.Offer{
		Issued: uint64(testNow.Unix() - int64(age)), Expires: uint64(testNow.Add(time.Hour).Unix()),
		Enode: "enode://" + id + "@" + ip + ":30303", Providers: []pushwire.ProviderOffer{{Name: "fcm"}}, Limits: pushwire.Limits{Channels: 100},
	}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	return key
}

// An older offer does not replace a later one, even after a restart: somebody who replays it
// sends nobody to the server's former address.
func TestReplayedOffer(t *testing.T) {
	key, store := newKey(t), new(client.MemoryStore)
	var l List
	require.NoError(t, l.Add(offerOf(key, "192.0.2.1", 10), testNow))
	require.NoError(t, l.Add(offerOf(key, "198.51.100.1", 5), testNow))
	require.ErrorIs(t, l.Add(offerOf(key, "192.0.2.1", 10), testNow), ErrReplayed)
	require.NoError(t, l.Save(t.Context(), store))
	var again List
	require.NoError(t, again.Load(t.Context(), store))
	require.ErrorIs(t, again.Add(offerOf(key, "192.0.2.1", 5), testNow), ErrReplayed)
	best := again.Rank(Need{}, testNow)
	require.Len(t, best, 1)
	require.Contains(t, best[0].Offer.Enode, "@198.51.100.1:")
}

// An offer leads into no network of the device's own, and to no place at all.
func TestOfferLeadsAstray(t *testing.T) {
	for ip, private := range map[string]bool{"127.0.0.1": true, "192.168.1.1": true, "10.0.0.1": true, "[::1]": true, "[fe80::1]": true, "0.0.0.0": true, "[fd00::1]": true, "203.0.113.9": false, "[2001:db8::1]": false} {
		var l List
		err := l.Add(offerOf(newKey(t), ip, 0), testNow)
		if private {
			require.ErrorIs(t, err, ErrPrivate, ip)
		} else {
			require.NoError(t, err, ip)
		}
	}
	bad := offerOf(newKey(t), "203.0.113.9", 0)
	bad.Enode = "mail.example.org"
	require.ErrorContains(t, new(List).Add(bad, testNow), "names no node")
	over := offerOf(newKey(t), "203.0.113.9", 0)
	over.Expires = uint64(testNow.Unix())
	require.ErrorContains(t, new(List).Add(over, testNow), "expired")
}

// Whoever makes very many offers keeps out nobody: of one network only some are kept, and
// those of very many networks give way to each other before one that answered does.
func TestOfferFlood(t *testing.T) {
	var l List
	key := newKey(t)
	require.NoError(t, l.Add(offerOf(key, "203.0.113.1", 600), testNow))
	honest := l.Rank(Need{}, testNow)[0]
	l.Asked(honest.PushKey, 50*time.Millisecond)
	crowded := 0
	for i := range 20 {
		if l.Add(offerOf(newKey(t), fmt.Sprintf("198.51.100.%d", i+1), 0), testNow) != nil {
			crowded++
		}
	}
	require.Equal(t, 20-maxPerNetwork, crowded)
	for i := range maxListed + 50 {
		require.NoError(t, l.Add(offerOf(newKey(t), fmt.Sprintf("45.%d.%d.1", i/250, i%250), 0), testNow))
	}
	all := l.Rank(Need{}, testNow)
	require.Len(t, all, maxListed)
	require.Equal(t, honest.PushKey, all[0].PushKey, "it answered, and they did not")
}

// What the app needs comes first, then what it costs, then how the server answered.
func TestRank(t *testing.T) {
	var l List
	add := func(name string, change func(*pushwire.Offer)) string {
		d := offerOf(newKey(t), "203.0.113."+name, 0)
		change(&d.Offer)
		require.NoError(t, l.Add(d, testNow))
		return d.Enode
	}
	slow := add("1", func(*pushwire.Offer) {})
	fast := add("2", func(*pushwire.Offer) {})
	flaky := add("3", func(*pushwire.Offer) {})
	paid := add("4", func(o *pushwire.Offer) { o.Price = "a euro a year" })
	add("5", func(o *pushwire.Offer) { o.Providers[0].Name = "hms" })
	add("6", func(o *pushwire.Offer) { o.Limits.Channels = 5 })
	for _, c := range l.Rank(Need{}, testNow) {
		for i := range 4 {
			switch {
			case c.Offer.Enode == slow:
				l.Asked(c.PushKey, 200*time.Millisecond)
			case c.Offer.Enode == fast, c.Offer.Enode == paid:
				l.Asked(c.PushKey, 20*time.Millisecond)
			case c.Offer.Enode == flaky && i%2 == 0:
				l.Asked(c.PushKey, time.Millisecond)
			case c.Offer.Enode == flaky:
				l.Asked(c.PushKey, 0)
			}
		}
	}
	var got []string
	for _, c := range l.Rank(Need{Providers: []string{"apns", "fcm"}, Channels: 20}, testNow) {
		got = append(got, c.Offer.Enode)
	}
	require.Equal(t, []string{fast, slow, flaky, paid}, got)
	require.Len(t, l.Rank(Need{Providers: []string{"fcm"}, Channels: 20, Free: true}, testNow), 3)
	require.Empty(t, l.Rank(Need{}, testNow.Add(2*time.Hour)), "the offers are over")
}

func TestLoadRefuses(t *testing.T) {
	store := new(client.MemoryStore)
	require.NoError(t, store.Save(t.Context(), []byte("{")))
	require.ErrorContains(t, new(List).Load(t.Context(), store), "damaged")
}

// A server is dead that does not answer for minutes, and withholds if what it should ring for
// does not come twice.
func TestWatch(t *testing.T) {
	var w Watch
	at := func(minutes float64) time.Time { return testNow.Add(time.Duration(minutes * float64(time.Minute))) }
	require.Equal(t, Fine, w.Verdict(at(0)))
	w.Silent(at(0))
	w.Silent(at(1))
	require.Equal(t, Unsure, w.Verdict(at(1)))
	w.Silent(at(2.9))
	require.Equal(t, Unsure, w.Verdict(at(2.9)))
	require.Equal(t, Dead, w.Verdict(at(3)))
	w.Answered()
	require.Equal(t, Fine, w.Verdict(at(4)))

	w.Probed(at(5))
	require.Equal(t, Fine, w.Verdict(at(6.9)))
	require.Equal(t, Unsure, w.Verdict(at(7)))
	w.Probed(at(8))
	require.Equal(t, Withholds, w.Verdict(at(10)))
	w.Rang()
	require.Equal(t, Fine, w.Verdict(at(11)))
	for v, name := range map[Verdict]string{Fine: "fine", Unsure: "unsure", Dead: "dead", Withholds: "withholds"} {
		require.Equal(t, name, v.String())
	}
}

// A server that goes on with another push key keeps its place in the list, what is known of it, and that it was chosen; nobody takes
// the place of another's.
func TestListKnowsTheNextPushKey(t *testing.T) {
	former, next, thief := newKey(t), newKey(t), newKey(t)
	name := func(key *ecdsa.PrivateKey) string { return hex.EncodeToString(crypto.CompressPubkey(&key.PublicKey)) }
	list := func() *List {
		l := new(List)
		require.NoError(t, l.Add(offerOf(former, "192.0.2.1", 10), testNow))
		l.Choose(name(former), true)
		l.Asked(name(former), time.Second)
		return l
	}
	follows := func(key *ecdsa.PrivateKey) client.Discovered {
		s, err := pushwire.NewSuccession(former, key, 1, 2)
		require.NoError(t, err)
		d := offerOf(key, "192.0.2.1", 5)
		d.Successions = []pushwire.Succession{s}
		return d
	}
	l := list()
	require.NoError(t, l.Add(follows(next), testNow))
	all := l.Rank(Need{}, testNow)
	require.Len(t, all, 1)
	require.Equal(t, name(next), all[0].PushKey)
	require.True(t, all[0].Chosen)
	require.Equal(t, 1, all[0].Answered)

	l = list()
	forged := follows(thief)
	forged.Successions[0].Signature[3]++
	require.NoError(t, l.Add(forged, testNow))
	require.Len(t, l.Rank(Need{}, testNow), 2, "it is a server of its own")
	require.Equal(t, name(former), l.Rank(Need{}, testNow)[0].PushKey)
}
