package pushserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// A request that was made for another server's push key, and that its receiver there
// may have passed on, is refused with a text, whatever it asks, and changes nothing.
func TestAttackRequestForAnotherServer(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		env := b.envelope(topicA)
		require.Len(t, bob.payloads(), 1)
		before, was := bob.status()
		count := counts(b)

		another, err := crypto.GenerateKey()
		require.NoError(t, err)
		handOn := func(p *phone, body pushwire.RequestBody) *pushwire.Reply {
			req := pushwire.NewRequest(body, time.Now())
			made, err := pushwire.SealRequest(t.Context(), req, p.key, &another.PublicKey, 0)
			require.NoError(t, err)
			m, err := made.OpenAsymmetric(another) // the other server reads it
			require.NoError(t, err)
			handed, err := whisper.Seal(t.Context(), whisper.Draft{
				Payload: m.Payload, Padding: pushwire.Padding(len(m.Payload)), Topic: pushwire.Topic(), Sign: p.key, To: &b.cfg.PushKey.PublicKey,
			})
			require.NoError(t, err)
			p.ext.HandleRequest(p.peer, handed.Raw())
			synctest.Wait()
			rep := p.reply()
			require.NotNil(t, rep, "an answer, not silence")
			require.Equal(t, req.ID, rep.ID)
			return rep
		}
		stranger := b.phone("stranger")
		stranger.version = 1
		for _, body := range []pushwire.RequestBody{
			&pushwire.Register{Version: 99, SealKey: bob.seal, Routes: []pushwire.Route{post("moved")}},
			&pushwire.Channels{Version: 99},
			&pushwire.Confirm{},
			&pushwire.Unregister{Version: 99},
			&pushwire.Status{},
			&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}},
			&pushwire.Seen{Hashes: []common.Hash{env.Hash()}},
			pushwire.NewNotify([pushwire.ProofSize]byte{}, [pushwire.HandleSize]byte{}, "eve", env.Hash(), pushwire.NotifyMessage, [33]byte(crypto.CompressPubkey(&another.PublicKey))),
		} {
			for _, p := range []*phone{bob, stranger} {
				rep := handOn(p, body)
				require.Equal(t, pushwire.WrongServer.String(), rep.Code.String(), "%s: %s", body.Kind(), rep.Text)
				require.NotEmpty(t, rep.Text)
				require.Nil(t, rep.Body, "nor does it tell anything")
				require.Equal(t, pushwire.None, rep.State)
				var refused *pushwire.RefusalError
				require.ErrorAs(t, rep.Error(), &refused)
			}
		}
		time.Sleep(time.Second)
		require.Equal(t, count, counts(b))
		require.Empty(t, b.post.take("moved"))
		after, is := bob.status()
		require.Equal(t, before.State, after.State)
		was.Now, is.Now = 0, 0
		require.Equal(t, was, is)
		require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: []common.Hash{env.Hash()}}).Code, "it still waits for its own request")
		t.Log("eight kinds of requests, made for another server and handed on: each is refused with wrong_server, and nothing has changed")
	})
}

// Mallory, who runs a server that Bob uses too, registers Bob's address here, and has
// Bob's device answer the challenge for them. What a device sends proves the code for
// the server and the account that it means, so it proves nothing here for Mallory's,
// and Bob's registration is as it was.
func TestAttackRelayedConfirm(t *testing.T) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		account := func(p *phone) [33]byte { return [33]byte(crypto.CompressPubkey(&p.key.PublicKey)) }
		here := [33]byte(crypto.CompressPubkey(&b.cfg.PushKey.PublicKey))
		mallory := b.phone("bob")
		mallory.private, mallory.seal = bob.private, bob.seal // as Bob gave it to Mallory's server
		require.Equal(t, pushwire.OK, mallory.ask(mallory.registration(topicA)).Code)
		pushed := bob.payloads()
		require.Len(t, pushed, 1)
		challenge, code := pushed[0], [pushwire.CodeSize]byte(pushed[0].Code)
		require.True(t, challenge.Names(pushwire.Binding{Server: here, Account: account(mallory)}), "it says for whom it is")
		require.False(t, challenge.Names(pushwire.Binding{Server: here, Account: account(bob)}), "so Bob's device does not answer it")

		another, err := crypto.GenerateKey()
		require.NoError(t, err)
		elsewhere := [33]byte(crypto.CompressPubkey(&another.PublicKey))
		for what, answer := range map[string]*pushwire.Confirm{
			"for Mallory's server, Bob's account":     pushwire.NewConfirm(code, elsewhere, account(bob)),
			"for Mallory's server, Mallory's account": pushwire.NewConfirm(code, elsewhere, account(mallory)),
			"for this server, Bob's account":          pushwire.NewConfirm(code, here, account(bob)),
		} {
			rep := mallory.refused(answer, pushwire.WrongCode)
			require.Equal(t, pushwire.Waiting, rep.State, what)
		}
		rep, _ := bob.status()
		require.Equal(t, pushwire.Active, rep.State)
		env := b.envelope(topicA)
		woken := bob.payloads()
		require.Len(t, woken, 1)
		require.Equal(t, []common.Hash{env.Hash()}, woken[0].Hashes)
		t.Log("three answers that a device may give to somebody else's challenge: each is refused with wrong_code; the device is woken as before")

		// The test could fail: the answer for this server and this account is taken.
		require.Equal(t, pushwire.OK, mallory.ask(pushwire.NewConfirm(code, here, account(mallory))).Code)
	})
}
