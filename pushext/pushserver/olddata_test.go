package pushserver

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/datadir"
	"whisperpush/whisper"
)

// earlier is what a directory that an earlier version wrote does not hold: the
// server's key, the archive, and the devices as they were then.
type earlier struct {
	PushKey   string
	Stopped   int64 // Unix milliseconds, in the fake time of the writer
	Envelopes []string
	Phones    map[string]struct {
		Key, Peer, Token, Private, Seal, Code string
		Version                               uint64
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

// A directory that an earlier version wrote is opened as it is, after a clean
// stop of that and after a crash: every device goes on as if nothing had
// happened. How it was written is in the file.
func TestDirectoryOfAnEarlierVersion(t *testing.T) {
	for _, name := range []string{"push", "crashed"} {
		t.Run(name, func(t *testing.T) {
			dir := datadir.Unpack(t, "testdata/data-2026-11.tar.gz")
			text, err := os.ReadFile(filepath.Join(dir, "devices.json"))
			require.NoError(t, err)
			var was earlier
			require.NoError(t, json.Unmarshal(text, &was))
			synctest.Test(t, func(t *testing.T) { openEarlier(t, filepath.Join(dir, name), &was) })
		})
	}
}

func openEarlier(t *testing.T, dir string, was *earlier) {
	time.Sleep(time.Until(time.UnixMilli(was.Stopped)))
	hook := endpoints{&postbox{name: "hook", dead: make(map[string]bool)}}
	const odd, one = "https://Push.Example.org:443/u/1", "https://push.example.org/u/1"
	var envs []*whisper.Envelope
	b := newBed(t, Limits{}, func(c *Config) {
		key, err := crypto.ToECDSA(unhex(t, was.PushKey))
		require.NoError(t, err)
		c.PushKey, c.storage, c.Dir = key, nil, dir
		c.Providers = append(c.Providers, hook, &wires{links: make(map[string]pushext.Link)})
		for _, raw := range was.Envelopes {
			env, err := whisper.DecodeEnvelope(unhex(t, raw))
			require.NoError(t, err)
			envs = append(envs, env)
			c.Log.(*archive).take(env)
		}
	})
	defer b.stop()
	phones := make(map[string]*phone)
	code := make(map[string][pushwire.CodeSize]byte)
	for name, on := range was.Phones {
		key, err := crypto.ToECDSA(unhex(t, on.Key))
		require.NoError(t, err)
		phones[name] = &phone{
			bed: b, key: key, peer: enode.ID(unhex(t, on.Peer)), token: on.Token,
			private: unhex(t, on.Private), seal: unhex(t, on.Seal), version: on.Version,
		}
		if on.Code != "" {
			code[name] = [pushwire.CodeSize]byte(unhex(t, on.Code))
		}
	}
	synctest.Wait()
	require.NotContains(t, b.out.String(), "level=ERROR")
	require.Equal(t, [3]int{unconfirmed: 2, registered: 4, tombstones: 2}, counts(b))
	states := map[string]pushwire.State{
		"active": pushwire.Active, "second": pushwire.Active, "linked": pushwire.Active, "moving": pushwire.Waiting,
		"waiting": pushwire.Waiting, "dead": pushwire.Dead, "ended": pushwire.Terminated, "expired": pushwire.Expired,
	}
	for name, want := range states {
		rep, _ := phones[name].status()
		require.Equal(t, want.String(), rep.State.String(), name)
	}
	topicC := whisper.Topic{0xc, 0xc, 0xc, 0xc}
	_, status := phones["active"].status()
	require.Equal(t, []pushwire.Channel{{Topic: topicA}, {Topic: topicB}, {Topic: topicC, Mode: pushwire.Mentions}}, status.Channels)
	require.Equal(t, []string{"eve"}, status.Revoked)
	rep, _ := phones["dead"].status()
	require.Equal(t, "post 404 gone", rep.Reason)

	// What waited for a push service that was away is sent, and what was not
	// fetched is still named.
	time.Sleep(15 * time.Second)
	got := hook.take(one)
	require.NotEmpty(t, got)
	payload, err := pushwire.OpenPayload(got[0].Body, phones["second"].private)
	require.NoError(t, err)
	require.Equal(t, []common.Hash{envs[2].Hash()}, payload.Hashes)
	last := b.envelope(topicB)
	all := phones["active"].payloads()
	require.NotEmpty(t, all)
	require.Equal(t, []common.Hash{last.Hash(), envs[2].Hash(), envs[1].Hash()}, all[len(all)-1].Hashes)

	// A device of the group reads it; the other is told to remove it.
	time.Sleep(time.Minute)
	hook.take(one)
	require.Equal(t, pushwire.OK, phones["active"].ask(&pushwire.Fetch{Hashes: all[len(all)-1].Hashes}).Code)
	require.Equal(t, pushwire.OK, phones["active"].ask(&pushwire.Seen{Hashes: all[len(all)-1].Hashes}).Code)
	time.Sleep(time.Minute)
	got = hook.take(one)
	require.NotEmpty(t, got)
	payload, err = pushwire.OpenPayload(got[0].Body, phones["second"].private)
	require.NoError(t, err)
	require.Equal(t, pushwire.Dismiss, payload.Kind)

	// Codes that were sent before are good still.
	for _, name := range []string{"waiting", "moving"} {
		require.Equal(t, pushwire.Active, phones[name].ask(&pushwire.Confirm{Code: code[name]}).State, name)
	}
	time.Sleep(time.Minute)
	all = phones["moving"].payloads()
	require.NotEmpty(t, all)
	require.Equal(t, []common.Hash{last.Hash(), envs[2].Hash()}, all[len(all)-1].Hashes)

	// A device that comes over a link is rung for what it missed.
	phones["linked"].plug(7)
	require.Equal(t, pushwire.OK, phones["linked"].ask(&pushwire.Status{}).Code)
	rings := phones["linked"].rings()
	require.Len(t, rings, 1)
	require.Equal(t, []common.Hash{envs[1].Hash(), envs[0].Hash()}, rings[0].Hashes)

	// Renewing needs no proof, coming back does; older versions stay refused.
	for _, name := range []string{"active", "moving"} {
		p := phones[name]
		rep := p.ask(p.registration(topicA))
		require.Equal(t, pushwire.OK, rep.Code, rep.Text)
		require.Equal(t, pushwire.Active, rep.State)
		require.False(t, rep.Body.(*pushwire.RegisterReply).Challenged)
	}
	p := phones["second"]
	g := p.registration(topicA)
	g.Routes[0].Provider = "hook"
	require.Equal(t, odd, p.token)
	filed := func() (n int) {
		f := b.ext.store.Fingerprint([]byte{'a'}, []byte("hook\x00"+odd))
		it := b.ext.store.Scan(append([]byte{'a'}, f[:]...)...)
		defer it.Release()
		for it.Next() {
			n++
		}
		return n
	}
	require.Equal(t, 1, filed(), "by its spelling, as it was then")
	rep = p.ask(g)
	require.Equal(t, pushwire.Active, rep.State, rep.Text)
	require.Zero(t, filed(), "by its one spelling now")
	ended := phones["ended"]
	ended.version = 0
	require.Equal(t, pushwire.Terminated, ended.refused(ended.registration(topicA), pushwire.Stale).State)
	ended.version = 10
	ended.join(ended.registration(topicA))
	for _, name := range []string{"dead", "expired"} {
		phones[name].join(phones[name].registration(topicA))
	}
	b.envelope(topicA)
	for _, name := range []string{"active", "moving", "waiting", "ended", "dead", "expired"} {
		require.NotEmpty(t, phones[name].payloads(), name)
	}
	require.NotEmpty(t, hook.take(one))

	// A challenge that was counted before is counted.
	for _, name := range []string{"waiting", "moving"} {
		for range 2 {
			other := b.phone(phones[name].token)
			require.Equal(t, pushwire.OK, other.ask(other.registration()).Code, name)
		}
		other := b.phone(phones[name].token)
		other.refused(other.registration(), pushwire.Limit)
	}
	require.NoError(t, b.ext.registry.Sweep(time.Now()))
	require.NotContains(t, b.out.String(), "level=ERROR")
}
