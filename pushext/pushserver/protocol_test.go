package pushserver

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// bedTest runs a test of the whole server in fake time.
func bedTest(t *testing.T, limits Limits, test func(b *bed), more ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, limits, more...)
		defer b.stop()
		test(b)
	})
}

func TestRegisterConfirmWakeFetch(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("token of bob")
		bob.refused(&pushwire.Status{}, pushwire.NotRegistered)
		bob.refused(&pushwire.Fetch{}, pushwire.NotRegistered)

		rep := bob.ask(bob.registration(topicA))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Waiting, rep.State)
		body := rep.Body.(*pushwire.RegisterReply)
		require.True(t, body.Challenged)
		require.EqualValues(t, 1, body.Version)
		require.EqualValues(t, time.Now().Add(30*24*time.Hour).Unix(), body.Expires)
		code := bob.code()

		b.envelope(topicA)
		require.Empty(t, bob.payloads(), "an unconfirmed registration gets its challenge and nothing else")
		bob.refused(&pushwire.Fetch{}, pushwire.Unconfirmed)
		bob.refused(&pushwire.Seen{}, pushwire.Unconfirmed)

		wrong := code
		wrong[0] ^= 1
		bob.refused(&pushwire.Confirm{Code: wrong}, pushwire.WrongCode)
		for range 2 { // the second, for a reply that was lost
			rep = bob.ask(&pushwire.Confirm{Code: code})
			require.Equal(t, pushwire.OK, rep.Code, rep.Text)
			require.Equal(t, pushwire.Active, rep.State)
		}

		env := b.envelope(topicA)
		b.envelope(topicB)
		all := bob.payloads()
		require.Len(t, all, 1)
		require.Equal(t, pushwire.Messages, all[0].Kind)
		require.Equal(t, []common.Hash{env.Hash()}, all[0].Hashes)
		_, status := bob.status()
		require.Equal(t, all[0].Seq, status.Seq)
		require.Equal(t, []pushwire.Channel{{Topic: topicA}}, status.Channels)
		require.Equal(t, []pushwire.RouteStatus{{Provider: "post", State: pushwire.Active}}, status.Routes)

		unknown := common.Hash{1}
		rep = bob.ask(&pushwire.Fetch{Hashes: []common.Hash{unknown, env.Hash(), env.Hash()}})
		require.Equal(t, &pushwire.FetchReply{Sent: []common.Hash{env.Hash()}, Missing: []common.Hash{unknown}}, rep.Body)
		require.Equal(t, env.Hash(), b.sent[bob.peer][0].Hash())
		require.Len(t, b.sent[bob.peer], 1)

		second := b.envelope(topicA)
		all = bob.payloads()
		require.Len(t, all, 1)
		require.Equal(t, []common.Hash{second.Hash()}, all[0].Hashes, "what was fetched is not repeated")
	})
}

func TestFetchIsBounded(t *testing.T) {
	bedTest(t, Limits{Fetch: 3, FetchBytes: 600}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		var hashes []common.Hash
		for range 3 {
			hashes = append(hashes, b.envelope(topicA).Hash())
		}
		rep := bob.ask(&pushwire.Fetch{Hashes: hashes})
		require.Equal(t, &pushwire.FetchReply{Sent: hashes[:1], Later: hashes[1:]}, rep.Body)
		bob.refused(&pushwire.Fetch{Hashes: append(hashes, common.Hash{})}, pushwire.Limit)
		bob.refused(&pushwire.Seen{Hashes: append(hashes, common.Hash{})}, pushwire.Limit)
	})
}

// What a device has by another way ends its wake-ups as fetching does, without being
// sent, and tells its group nothing.
func TestReceivedByAnotherWay(t *testing.T) {
	bedTest(t, Limits{Fetch: 3}, func(b *bed) {
		bob, tablet := b.phone("bob"), b.phone("tablet")
		for _, p := range []*phone{bob, tablet} {
			g := p.registration(topicA)
			g.Group = []byte("our secret")
			p.join(g)
		}
		first, second, third := b.envelope(topicA), b.envelope(topicA), b.envelope(topicA)
		bob.payloads()
		tablet.payloads()
		unknown := common.Hash{1}
		rep := bob.ask(&pushwire.Fetch{Hashes: []common.Hash{third.Hash()}, Received: []common.Hash{first.Hash(), second.Hash(), unknown}})
		require.Equal(t, &pushwire.FetchReply{Sent: []common.Hash{third.Hash()}}, rep.Body)
		require.Len(t, b.sent[bob.peer], 1)
		last := b.envelope(topicA)
		time.Sleep(time.Minute)
		all := bob.payloads()
		require.NotEmpty(t, all)
		require.Equal(t, []common.Hash{last.Hash()}, all[len(all)-1].Hashes)
		all = tablet.payloads()
		require.NotEmpty(t, all)
		require.Equal(t, pushwire.Messages, all[len(all)-1].Kind)
		require.Len(t, all[len(all)-1].Hashes, 4, "the others have not read it")
		bob.refused(&pushwire.Fetch{Received: make([]common.Hash, 4)}, pushwire.Limit)
	})
}

func TestRefusals(t *testing.T) {
	bedTest(t, Limits{Channels: 3, Routes: 1, Revoked: 1, Challenges: 50}, func(b *bed) {
		bob := b.phone("token of bob")
		for _, c := range []struct {
			name   string
			change func(*pushwire.Register)
			code   pushwire.Code
		}{
			{"unknown provider", func(g *pushwire.Register) { g.Routes[0].Provider = "pigeon" }, pushwire.UnknownProvider},
			{"bad address", func(g *pushwire.Register) { g.Routes[0].Address = []byte("bad") }, pushwire.BadAddress},
			{"seal key of small order", func(g *pushwire.Register) { g.SealKey = make([]byte, pushwire.SealKeySize) }, pushwire.Malformed},
			{"too many channels", func(g *pushwire.Register) {
				g.Channels = []pushwire.Channel{{Topic: whisper.Topic{1}}, {Topic: whisper.Topic{2}}, {Topic: whisper.Topic{3}}, {Topic: whisper.Topic{4}}}
			}, pushwire.Limit},
			{"too many routes", func(g *pushwire.Register) {
				g.Routes = append(g.Routes, pushwire.Route{Provider: "other", Address: []byte("x")})
			}, pushwire.Limit},
		} {
			g := bob.registration(topicA)
			c.change(g)
			rep := bob.refused(g, c.code)
			require.Equal(t, pushwire.None, rep.State, c.name)
			require.NotZero(t, rep.Body.(*pushwire.RegisterReply).Limits, c.name)
			require.NotContains(t, rep.Text, bob.token, c.name)
			require.Empty(t, bob.payloads(), c.name)
		}
		bob.refused(&pushwire.Channels{Version: 99}, pushwire.NotRegistered)
		bob.refused(&pushwire.Confirm{}, pushwire.NotRegistered)
		bob.refused(&pushwire.Unregister{Version: 99}, pushwire.NotRegistered)

		bob.join(bob.registration(topicA))
		held := bob.version
		rep := bob.refused(&pushwire.Channels{Version: held}, pushwire.Stale)
		require.Equal(t, held, rep.Body.(*pushwire.RegisterReply).Version)
		bob.refused(&pushwire.Unregister{Version: held}, pushwire.Stale)
		bob.version--
		bob.refused(bob.registration(topicB), pushwire.Stale)
		bob.refused(&pushwire.Channels{Version: held + 1, Revoked: []string{"a", "b"}}, pushwire.Limit)
		bob.refused(&pushwire.Channels{Version: held + 1, Channels: []pushwire.Channel{{Topic: whisper.Topic{1}}, {Topic: whisper.Topic{2}}, {Topic: whisper.Topic{3}}}}, pushwire.Limit)

		late := pushwire.NewRequest(&pushwire.Status{}, time.Now().Add(-6*time.Minute))
		rep = bob.send(late)
		require.Equal(t, pushwire.Clock, rep.Code)
		require.EqualValues(t, time.Now().UnixMilli(), rep.Body.(*pushwire.ClockReply).Now)
		early := pushwire.NewRequest(&pushwire.Status{}, time.Now().Add(6*time.Minute))
		require.Equal(t, pushwire.Clock, bob.send(early).Code)
		never := pushwire.NewRequest(&pushwire.Status{}, time.Now())
		never.Issued = 1<<64 - 1
		require.Equal(t, pushwire.Clock, bob.send(never).Code)
		again := pushwire.NewRequest(&pushwire.Status{}, time.Now())
		require.Equal(t, pushwire.OK, bob.send(again).Code)
		require.Equal(t, pushwire.Replayed, bob.send(again).Code)
	})
}

// What has no signature, no key or no form is dropped; what is signed is
// answered, be it garbage.
func TestGarbage(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		draft := whisper.Draft{Payload: []byte{0xc3, 3, 5, 0x90}, To: &b.cfg.PushKey.PublicKey, Topic: pushwire.Topic()}
		seal := func(d whisper.Draft) []byte {
			env, err := whisper.Seal(context.Background(), d)
			require.NoError(t, err)
			return env.Raw()
		}
		other := draft
		other.To = &bob.key.PublicKey
		elsewhere := draft
		elsewhere.Topic = topicA
		large := draft
		large.Padding = make([]byte, pushwire.MaxPlaintext)
		for _, raw := range [][]byte{nil, {0xc0}, []byte("hello"), seal(draft), seal(other), seal(elsewhere), seal(large)} {
			b.ext.HandleRequest(bob.peer, raw)
			synctest.Wait()
			require.Nil(t, bob.reply())
		}
		signed := draft
		signed.Sign = bob.key
		for payload, code := range map[string]pushwire.Code{
			"hello": pushwire.Malformed,
			"\xc0":  pushwire.Malformed,
			"\xd4\x03\x05\x90" + strings.Repeat("i", 16) + "\x01": pushwire.BadVersion,
			"\xd4\x02\x63\x90" + strings.Repeat("i", 16) + "\x01": pushwire.Unsupported,
		} {
			signed.Payload = []byte(payload)
			b.ext.HandleRequest(bob.peer, seal(signed))
			synctest.Wait()
			rep := bob.reply()
			require.NotNil(t, rep)
			require.Equal(t, code.String(), rep.Code.String())
			if len(payload) > 18 {
				require.Equal(t, strings.Repeat("i", 16), string(rep.ID[:]))
			}
		}
	})
}

func TestFloodIsHeldBack(t *testing.T) {
	bedTest(t, Limits{PeerRate: 1, PeerBurst: 2, PoW: 1e-9}, func(b *bed) {
		bob := b.phone("bob")
		require.NotNil(t, bob.send(pushwire.NewRequest(&pushwire.Status{}, time.Now())))
		require.NotNil(t, bob.send(pushwire.NewRequest(&pushwire.Status{}, time.Now())))
		rep := bob.refused(&pushwire.Status{}, pushwire.Busy)
		require.Equal(t, "too many requests from you, come back in 1s", rep.Text)
		require.NotNil(t, b.phone("carol").send(pushwire.NewRequest(&pushwire.Status{}, time.Now())))
		time.Sleep(time.Second)
		require.NotNil(t, bob.send(pushwire.NewRequest(&pushwire.Status{}, time.Now())))
	})
	bedTest(t, Limits{PoW: 1e9}, func(b *bed) {
		require.Nil(t, b.phone("bob").send(pushwire.NewRequest(&pushwire.Status{}, time.Now())), "too little work")
	})
}

// A panic below a request costs that request.
func TestPanicCostsTheRequest(t *testing.T) {
	f := new(fault)
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		f.archive.Store(true)
		bob.refused(&pushwire.Fetch{Hashes: []common.Hash{{}}}, pushwire.Internal)
		f.archive.Store(false)
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: []common.Hash{{}}}).Code)
	}, func(cfg *Config) { cfg.Envelopes = faultyArchive{cfg.Envelopes, f} })
}

func TestSeenReachesTheGroup(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		mobile, tablet, stranger := b.phone("mobile"), b.phone("tablet"), b.phone("stranger")
		for _, p := range []*phone{mobile, tablet, stranger} {
			g := p.registration(topicA)
			if p != stranger {
				g.Group = []byte("our secret")
			}
			p.join(g)
		}
		env := b.envelope(topicA)
		for _, p := range []*phone{mobile, tablet, stranger} {
			require.Len(t, p.payloads(), 1)
		}
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: []common.Hash{env.Hash()}}).Code)
		time.Sleep(time.Minute)
		require.Empty(t, mobile.payloads())
		require.Empty(t, stranger.payloads())
		all := tablet.payloads()
		require.Len(t, all, 1)
		require.Equal(t, pushwire.Dismiss, all[0].Kind)
		require.Equal(t, []common.Hash{env.Hash()}, all[0].Hashes)

		// Seen before it is archived: one's own message.
		own := b.letter(topicA)
		require.Equal(t, pushwire.OK, mobile.ask(&pushwire.Seen{Hashes: []common.Hash{own.Hash()}}).Code)
		b.archive.take(own)
		time.Sleep(time.Minute)
		require.Empty(t, mobile.payloads())
		require.Empty(t, tablet.payloads())
		require.Len(t, stranger.payloads(), 1)
	})
}

func TestNotify(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob, alice := b.phone("bob"), b.phone("alice")
		root, handle := bytes.Repeat([]byte{9}, pushwire.RootSize), [pushwire.HandleSize]byte{8}
		g := bob.registration(topicA)
		g.Channels[0].Mode = pushwire.Mentions
		g.Channels = append(g.Channels, pushwire.Channel{Topic: topicB, MutedUntil: uint64(time.Now().Add(time.Hour).Unix())})
		g.Preferences = pushwire.Preferences{Root: root, Handle: handle[:], Revoked: []string{"eve"}}
		bob.join(g)

		shared := whisper.Topic{7}
		notify := func(holder string, env *whisper.Envelope, kind pushwire.NotifyKind) int {
			t.Helper()
			rep := alice.ask(pushwire.NewNotify(pushwire.Capability(root, holder), handle, holder, env.Hash(), kind, b.server()))
			require.Equal(t, pushwire.Reply{ID: rep.ID, To: rep.To}, *rep, "the reply never tells what became of it")
			time.Sleep(5 * time.Second)
			for _, p := range bob.payloads() {
				if p.Kind == pushwire.Messages && len(p.Hashes) > 0 && p.Hashes[0] == env.Hash() {
					return 1
				}
			}
			return 0
		}
		require.Equal(t, 0, notify("alice", b.envelope(topicA), pushwire.NotifyMessage), "mentions only")
		require.Equal(t, 1, notify("alice", b.envelope(topicA), pushwire.NotifyMention))
		require.Equal(t, 1, notify("alice", b.envelope(shared), pushwire.NotifyMessage))
		require.Equal(t, 0, notify("eve", b.envelope(topicA), pushwire.NotifyMention), "revoked")
		require.Equal(t, 0, notify("alice", b.envelope(topicB), pushwire.NotifyMention), "muted for now")

		early := b.letter(topicA)
		require.Equal(t, 0, notify("alice", early, pushwire.NotifyMention), "not archived yet")
		b.archive.take(early)
		time.Sleep(2 * time.Second)
		require.Len(t, bob.payloads(), 1, "rung once it is")

		forged := pushwire.NewNotify([pushwire.ProofSize]byte{}, handle, "alice", early.Hash(), pushwire.NotifyMention, b.server())
		require.Equal(t, pushwire.OK, alice.ask(forged).Code)
		nobody := pushwire.NewNotify([pushwire.ProofSize]byte{}, [pushwire.HandleSize]byte{1}, "alice", early.Hash(), pushwire.NotifyMention, b.server())
		require.Equal(t, pushwire.OK, alice.ask(nobody).Code)

		bob.version++
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Channels{Version: bob.version, Revoked: []string{"alice"}}).Code)
		require.Equal(t, 0, notify("alice", b.envelope(topicA), pushwire.NotifyMention), "revoked meanwhile")
		time.Sleep(2 * time.Hour)
		require.Equal(t, 1, notify("carol", b.envelope(topicB), pushwire.NotifyMention), "no longer muted")
	})
}

func TestMuteAndRemoveChannels(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA, topicB))
		change := func(c pushwire.Channel) {
			bob.version++
			for range 2 { // the second time it changes nothing
				rep := bob.ask(&pushwire.Channels{Version: bob.version, Channels: []pushwire.Channel{c}})
				require.Equal(t, pushwire.OK, rep.Code, rep.Text)
			}
		}
		rung := func() bool {
			env := b.envelope(topicA)
			time.Sleep(time.Minute)
			got := len(bob.payloads()) > 0
			bob.ask(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}})
			b.sent[bob.peer] = nil
			return got
		}
		require.True(t, rung())
		change(pushwire.Channel{Topic: topicA, Mode: pushwire.Muted})
		require.False(t, rung())
		change(pushwire.Channel{Topic: topicA, MutedUntil: uint64(time.Now().Add(time.Hour).Unix())})
		require.False(t, rung())
		time.Sleep(time.Hour)
		require.True(t, rung())
		change(pushwire.Channel{Topic: topicA, Mode: pushwire.Removed})
		require.False(t, rung())
		change(pushwire.Channel{Topic: topicA})
		require.True(t, rung())
	})
}

// No secret is readable in the files, in the log or in the metrics.
func TestDiskAndLogCanary(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		secret := "CANARY-token-0123456789"
		bob := b.phone(secret)
		g := bob.registration(topicA)
		g.Channels[0].Topic = whisper.Topic{'C', 'N', 'R', 'Y'}
		g.Routes[0].Keys = [][]byte{[]byte("CANARY-provider-key")}
		g.Group = []byte("CANARY-group")
		g.Preferences = pushwire.Preferences{Root: bytes.Repeat([]byte("CANARYRT"), 4), Handle: []byte("CANARY-handle-16"), Revoked: []string{"CANARY-holder"}}
		bob.join(g)
		b.envelope(g.Channels[0].Topic)
		bob.ask(bob.registration(topicA)) // and a version in which most of it is gone
		disk := b.ext.store.DB.Scan(nil, nil)
		records := 0
		canaries := [][]byte{
			[]byte("CANARY"), []byte("CNRY"), bob.seal, bob.private, bob.peer[:], topicA[:],
			[]byte(hex.EncodeToString(bob.seal)), []byte(bob.key.X.String()), bob.key.X.Bytes(),
		}
		for disk.Next() {
			records++
			for _, canary := range canaries {
				require.NotContains(t, string(disk.Key()), string(canary))
				require.NotContains(t, string(disk.Value()), string(canary))
			}
		}
		require.NoError(t, disk.Release())
		disk.Release()
		require.Greater(t, records, 5)
		b.restart()
		snapshot, err := os.ReadFile(filepath.Join(b.cfg.Dir, "index.snapshot"))
		require.NoError(t, err)
		files := [][]byte{snapshot}
		for _, file := range b.disk.Files() {
			files = append(files, b.disk.Bytes(file))
		}
		for _, file := range files {
			for _, canary := range canaries {
				require.NotContains(t, string(file), string(canary))
			}
		}
		for _, canary := range []string{"CANARY", "CNRY", hex.EncodeToString([]byte("CNRY")), hex.EncodeToString(bob.peer[:])} {
			require.NotContains(t, b.out.String(), canary)
		}
	})
}
