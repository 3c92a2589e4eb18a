package pushserver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Seen, Fetch and Notify that are forged, replayed, old, or made by somebody outside the group
// are answered with a code of their own and change nothing: neither what waits for a device,
// nor what is owed to it, nor which device is rung. A Notify is answered with OK whatever is
// wrong with it, because nobody may learn who may ring, and it rings nobody. Requests made for
// another server are in TestAttackRequestForAnotherServer; offers are in package client, and
// messages of groups in package group.
func TestAttackForgedReplayedStale(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		mobile, tablet := b.pair()
		eve, stranger := b.phone("eve"), b.phone("stranger")
		g := eve.registration(topicB)
		g.Group = []byte("another secret")
		eve.join(g)
		bob := b.notifier("bob")
		env := b.envelope(topicA)
		letter := b.letter(topicB) // which no channel of bob's is for
		time.Sleep(time.Minute)
		for _, p := range []*phone{mobile, tablet, eve, bob.phone} {
			p.post.take(p.token)
		}
		at := hashesOf(env)
		bodies := map[string]func() pushwire.RequestBody{
			"seen":     func() pushwire.RequestBody { return &pushwire.Seen{Hashes: at} },
			"fetch":    func() pushwire.RequestBody { return &pushwire.Fetch{Hashes: at, Owed: new(pushwire.OwedQuery)} },
			"received": func() pushwire.RequestBody { return &pushwire.Fetch{Received: at} },
			"notify":   func() pushwire.RequestBody { return bob.by("alice", letter.Hash()) },
		}
		spoiled := bob.by("alice", env.Hash())
		spoiled.Proof[0] ^= 1
		other := bob.by("alice", env.Hash())
		other.Type = pushwire.NotifyMention // than was proved
		mallory := bob.by("alice", env.Hash())
		mallory.Holder = "mallory"
		nobody := bob.by("alice", env.Hash())
		nobody.Handle[0] ^= 1
		bodies["notify, spoiled proof"] = func() pushwire.RequestBody { return spoiled }
		bodies["notify, of another kind"] = func() pushwire.RequestBody { return other }
		bodies["notify, by another holder"] = func() pushwire.RequestBody { return mallory }
		bodies["notify, to nobody"] = func() pushwire.RequestBody { return nobody }

		// The state of everybody else: what waits and is owed for them, and what they are sent.
		unchanged := func(what string) {
			t.Helper()
			time.Sleep(time.Minute)
			for _, p := range []*phone{mobile, tablet} {
				require.EqualValues(t, 1, p.delivery().Unread, what)
				require.Empty(t, p.owed(), what)
				require.Empty(t, p.post.take(p.token), what)
			}
			require.Zero(t, bob.delivery().Unread, what)
			require.Empty(t, bob.post.take("bob"), what)
		}
		expect := func(what string, rep *pushwire.Reply, code pushwire.Code) {
			t.Helper()
			require.NotNil(t, rep, what)
			require.Equal(t, code.String(), rep.Code.String(), what)
			if code != pushwire.OK {
				require.NotEmpty(t, rep.Text, what)
				var refused *pushwire.RefusalError
				require.ErrorAs(t, rep.Error(), &refused, what)
			}
		}
		for name, body := range bodies {
			notify := len(name) >= 6 && name[:6] == "notify"
			proved := name == "notify"

			// Forged: by a key that is nobody's, and by nobody at all.
			code := pushwire.NotRegistered
			if notify {
				code = pushwire.OK
			}
			if !proved {
				expect(name+" by a stranger", stranger.ask(body()), code)
			}
			req := pushwire.NewRequest(body(), time.Now())
			payload, err := pushwire.EncodeRequest(req)
			require.NoError(t, err)
			unsigned, err := whisper.Seal(context.Background(), whisper.Draft{Payload: payload, Padding: pushwire.Padding(len(payload)), Topic: pushwire.Topic(), To: &b.cfg.PushKey.PublicKey})
			require.NoError(t, err)
			b.ext.HandleRequest(mobile.peer, unsigned.Raw())
			synctest.Wait()
			require.Nil(t, mobile.reply(), "there is nobody to answer: %s", name)

			// Foreign: by a device of another group.
			if !proved {
				require.Equal(t, pushwire.OK, eve.ask(body()).Code, name)
			}

			// Stale, and of the future.
			for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
				expect(name+" that is stale", mobile.send(pushwire.NewRequest(body(), time.Now().Add(off))), pushwire.Clock)
			}
			unchanged(name)
		}

		// Replayed: what was answered once does nothing the second time, whoever brings it. What
		// it did is undone in between, so that it would show.
		for _, name := range []string{"seen", "fetch", "received", "notify"} {
			fresh := b.envelope(topicA)
			at = hashesOf(fresh)
			letter = fresh
			time.Sleep(time.Minute)
			req := pushwire.NewRequest(bodies[name](), time.Now())
			sealed, err := pushwire.SealRequest(context.Background(), req, mobile.key, &b.cfg.PushKey.PublicKey, 0)
			require.NoError(t, err)
			b.ext.HandleRequest(mobile.peer, sealed.Raw())
			synctest.Wait()
			expect(name, mobile.reply(), pushwire.OK)
			time.Sleep(time.Minute)
			tablet.owed(at...)
			for _, p := range []*phone{mobile, tablet, bob.phone} {
				p.post.take(p.token)
			}
			rung := bob.delivery().Unread
			for _, by := range []*phone{mobile, stranger} {
				b.ext.HandleRequest(by.peer, sealed.Raw())
				synctest.Wait()
				b.mu.Lock()
				answers := b.sent[by.peer]
				b.sent[by.peer] = nil
				b.mu.Unlock()
				require.NotEmpty(t, answers, name)
				rep, err := pushwire.OpenReply(answers[len(answers)-1], mobile.key, &b.cfg.PushKey.PublicKey)
				require.NoError(t, err)
				expect(name+" that is replayed", &rep, pushwire.Replayed)
			}
			time.Sleep(2 * time.Second)
			require.Empty(t, tablet.owed(), name)
			require.Equal(t, rung, bob.delivery().Unread, name)
			require.Empty(t, bob.post.take("bob"), name)
		}
	})
}
