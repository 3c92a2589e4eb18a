package client

import (
	"crypto/ecdsa"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// oldState is a text that a version of 2026 kept.
const oldState = `{
	"registrationKey": "0x7171717171717171717171717171717171717171717171717171717171717171",
	"sealKey": "0x5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
	"sealPublicKey": "0x0303030303030303030303030303030303030303030303030303030303030303",
	"version": 1800000000000,
	"active": true,
	"seq": 12,
	"since": 1790000000,
	"cursor": "0xff7770630100000000000000070000000000000000000000000000000000000000000000",
	"shown": ["0xaa00000000000000000000000000000000000000000000000000000000000001"]
}`

// The state of an earlier version is the account of the server that it is first used
// with, and stays so when the app uses another server.
func TestStateOfEarlierVersion(t *testing.T) {
	servers := []*scripted{startScripted(t), startScripted(t)}
	store := new(MemoryStore)
	require.NoError(t, store.Save(t.Context(), []byte(oldState)))
	d := servers[0].open(t, store)
	check := func(d *Device) {
		require.Equal(t, strings.Repeat("71", 32), hexutil.Encode(d.state.RegistrationKey)[2:])
		require.Len(t, d.state.SealKey, 32)
		require.True(t, d.Active())
		require.EqualValues(t, 12, d.state.Seq)
		require.EqualValues(t, 1_800_000_000_000, d.state.Version)
		require.NotEmpty(t, d.state.Cursor)
		require.True(t, d.state.Known.has(markOf(common.Hash{0xaa, 31: 1})), "what was shown is not shown again")
	}
	check(d)
	require.NoError(t, d.Shown(t.Context(), common.Hash{1}))
	other := servers[1].open(t, store)
	require.NotEqual(t, d.state.RegistrationKey, other.state.RegistrationKey)
	require.False(t, other.Active())
	check(servers[0].open(t, store))
}

func TestStateThatCannotBeRead(t *testing.T) {
	s := startScripted(t)
	pushKey := hexutil.Encode(crypto.CompressPubkey(&s.key.PublicKey))
	account := func(text string) string { return `{"format":2,"accounts":{"` + pushKey[2:] + `":` + text + `}}` }
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":               {"{", "damaged"},
		"a list":                {"[]", "damaged"},
		"no key":                {`{"registrationKey":"0x00"}`, "damaged"},
		"key too large":         {account(`{"registrationKey":"0x` + strings.Repeat("ff", 32) + `"}`), "damaged"},
		"no seal key":           {strings.ReplaceAll(oldState, "sealKey", "x"), "damaged"},
		"cursor":                {strings.ReplaceAll(oldState, "0xff777063", "0xff77"), "damaged"},
		"marks in no base64":    {account(strings.ReplaceAll(oldState, `"active"`, `"known": "!", "active"`)), "damaged"},
		"waiting of wrong size": {account(strings.ReplaceAll(oldState, `"active"`, `"waiting": "AAAA", "active"`)), "damaged"},
		"a later version":       {`{"format":3}`, "later version"},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(MemoryStore)
			require.NoError(t, store.Save(t.Context(), []byte(c.text)))
			_, err := Open(t.Context(), Config{Server: s.peer.Enode.URLv4(), PushKey: pushKey, Store: store})
			require.ErrorContains(t, err, c.want)
			left, err := store.Load(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.text, string(left), "and nothing is overwritten")
		})
	}
}

// Two processes, such as an app and its notification extension, use one store.
func TestTwoProcesses(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	s.log = []*whisper.Envelope{letter(t, "first", 2*time.Second), letter(t, "second", time.Second)}
	store := FileStore(t.TempDir() + "/push.json")
	app, extension := s.open(t, store), s.open(t, store)
	require.Equal(t, app.state.RegistrationKey, extension.state.RegistrationKey)
	require.NoError(t, app.Register(t.Context(), route()))
	require.NoError(t, extension.Shown(t.Context())) // reads
	require.True(t, extension.Active())

	event, err := extension.Receive(t.Context(), extension.push(t, 1, s.log[0]))
	require.NoError(t, err)
	require.NoError(t, extension.Shown(t.Context(), event.Hashes()...))
	event, err = app.Receive(t.Context(), app.push(t, 2, s.log...))
	require.NoError(t, err)
	require.False(t, event.Gap, "the extension received the first")
	require.Equal(t, []string{"second"}, texts(event), "the extension has shown the first")
	require.NoError(t, app.Shown(t.Context(), event.Hashes()...))
	event, err = extension.History(t.Context())
	require.NoError(t, err)
	require.Empty(t, event.Previews)

	require.NoError(t, app.Unregister(t.Context()))
	require.NoError(t, extension.Register(t.Context(), route()))
	require.Greater(t, extension.state.Version, app.state.Version)
}

// A device that another process began again is not written over.
func TestBegunAnew(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	store := FileStore(t.TempDir() + "/push.json")
	d := s.open(t, store)
	require.NoError(t, store.Save(t.Context(), nil))
	again := s.open(t, store)
	_, err := d.Status(t.Context())
	require.ErrorIs(t, err, errReplaced)
	require.ErrorIs(t, d.Shown(t.Context(), common.Hash{1}), errReplaced)
	_, err = again.Status(t.Context())
	require.NoError(t, err)
}

// Whatever two processes do to an account one after another, in whatever order they
// write, nothing that was shown is shown again, nothing that waits is lost, and counts
// do not fall back.
func TestMergeModel(t *testing.T) {
	type process struct {
		*state
		base string
	}
	rapid.Check(t, func(t *rapid.T) {
		first, err := newState(time.Now())
		require.NoError(t, err)
		store := encoded(t, first)
		both := make([]*process, 2)
		for i := range both {
			s, err := readState([]byte(store))
			require.NoError(t, err)
			both[i] = &process{s, store}
		}
		told, shown := make(map[common.Hash]bool), make(map[common.Hash]bool)
		seq, place := uint64(0), uint64(0)
		sync := func(p *process) {
			base, err := readState([]byte(p.base))
			require.NoError(t, err)
			theirs, err := readState([]byte(store))
			require.NoError(t, err)
			require.NoError(t, p.merge(base, theirs))
			store = encoded(t, p.state)
			p.base = store
		}
		hash := rapid.Custom(func(t *rapid.T) common.Hash { return common.Hash{rapid.Byte().Draw(t, "hash") % 8, 1} })
		t.Repeat(map[string]func(*rapid.T){
			"sync": func(t *rapid.T) { sync(both[rapid.IntRange(0, 1).Draw(t, "process")]) },
			"told": func(t *rapid.T) {
				p, h := both[rapid.IntRange(0, 1).Draw(t, "process")], hash.Draw(t, "envelope")
				p.await([]common.Hash{h}, nil)
				p.arrived(h, common.Hash{h[0], 2})
				told[h] = true
			},
			"shown": func(t *rapid.T) {
				p, h := both[rapid.IntRange(0, 1).Draw(t, "process")], hash.Draw(t, "envelope")
				if p.Waiting.find(h) >= 0 {
					p.shown(h)
					shown[h] = true
				}
			},
			"seq": func(t *rapid.T) {
				p := both[rapid.IntRange(0, 1).Draw(t, "process")]
				seq++
				p.Seq = seq
			},
			"cursor": func(t *rapid.T) {
				p := both[rapid.IntRange(0, 1).Draw(t, "process")]
				place++
				p.Cursor = mailwire.Since(place).Bytes()
			},
			"": func(t *rapid.T) {},
		})
		sync(both[0])
		sync(both[1])
		sync(both[0])
		for _, p := range both {
			require.Equal(t, seq, p.Seq)
			if place > 0 {
				require.Equal(t, mailwire.Since(place).Bytes(), []byte(p.Cursor))
			}
			for h := range told {
				known := p.Known.has(markOf(common.Hash{h[0], 2}))
				require.Equal(t, shown[h], known, "shown")
				require.Equal(t, !shown[h], p.Waiting.find(h) >= 0, "waits")
			}
		}
	})
}

func encoded(t require.TestingT, s *state) string {
	text, err := json.Marshal(s)
	require.NoError(t, err)
	return string(text)
}

// What the server says of an epoch, and states after which counting begins again.
func TestEpoch(t *testing.T) {
	s := startScripted(t)
	reply := pushwire.StatusReply{Seq: 1000}
	var now pushwire.State
	s.answer = func(req pushwire.Request, from *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		switch body := req.Body.(type) {
		case *pushwire.Status:
			return pushwire.Reply{State: now, Body: &reply}, nil, true
		case *pushwire.Unregister:
			return pushwire.Reply{State: pushwire.Terminated, Body: &pushwire.RegisterReply{Version: body.Version}}, nil, true
		}
		return s.gives(req, from)
	}
	s.log = []*whisper.Envelope{} // histories are empty
	d := s.open(t, nil)
	gap := func(seq uint64) bool {
		event, err := d.Receive(t.Context(), d.push(t, seq, letter(t, "gone", 0)))
		require.NoError(t, err)
		return event.Gap
	}
	status := func(state pushwire.State, epoch, seq uint64) {
		now, reply.Epoch, reply.Seq = state, epoch, seq
		_, err := d.Status(t.Context())
		require.NoError(t, err)
	}
	count := func() { // to 500, and then back to the beginning
		d.mu.Lock()
		d.state.Seq = 499
		d.mu.Unlock()
		require.False(t, gap(500))
	}
	for name, anew := range map[string]func(){
		"unregistered":              func() { require.NoError(t, d.Unregister(t.Context())) },
		"expired":                   func() { status(pushwire.Expired, 0, 500) },
		"another epoch":             func() { status(pushwire.Active, 7, 500); count(); status(pushwire.Active, 8, 500) },
		"older server, reinstalled": func() { status(pushwire.Active, 0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, d.Register(t.Context(), route()))
			count()
			anew()
			require.False(t, gap(1))
			require.True(t, gap(9), "2 to 8 were lost")
		})
	}
	status(pushwire.Active, 9, 9)
	count()
	status(pushwire.Active, 9, 600)
	require.False(t, gap(501), "the same epoch goes on")
}

// A gap whose repair fails is repaired with the next push that has none.
func TestGapIsRepairedLater(t *testing.T) {
	s := startScripted(t)
	s.answer = s.gives
	s.log = []*whisper.Envelope{letter(t, "lost", 3*time.Second), letter(t, "second", 2*time.Second), letter(t, "third", time.Second)}
	store := new(MemoryStore)
	d := s.open(t, store)
	refuse := mailwire.Refuse("no", "not now")
	s.change(func() { s.refuse = refuse })
	event, err := d.Receive(t.Context(), d.push(t, 2, s.log[1]))
	require.NoError(t, err)
	require.True(t, event.Gap)
	require.Equal(t, []string{"second"}, texts(event))
	require.NoError(t, d.Shown(t.Context(), event.Hashes()...))

	d = s.open(t, store)
	s.change(func() { s.refuse = "" })
	event, err = d.Receive(t.Context(), d.push(t, 3, s.log[2]))
	require.NoError(t, err)
	require.False(t, event.Gap)
	require.Equal(t, []string{"lost", "third"}, texts(event))
}
