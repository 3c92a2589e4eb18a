package node

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
	"whisperpush/whisper"
)

// rotatePush has the node make another push key.
func (w *world) rotatePush(t *testing.T, now bool) PushKeyReport {
	t.Helper()
	report, err := (&Admin{node: w.Node}).RotatePushKey(t.Context(), now)
	require.NoError(t, err)
	return report
}

func (w *world) pushKeyReport(t *testing.T) PushKeyReport {
	t.Helper()
	report, err := (&Admin{node: w.Node}).PushKey(t.Context())
	require.NoError(t, err)
	return report
}

// over lets the time of the overlap pass: the node is told that it ended a minute ago.
func (w *world) over(t *testing.T) {
	t.Helper()
	w.halt()
	path := FormerPushKeysPath(w.cfg)
	list, err := readFormerKeys(path)
	require.NoError(t, err)
	list.Former[len(list.Former)-1].Until = time.Now().Add(-time.Minute)
	require.NoError(t, list.write(path))
	w.restart(t, true)
}

// A device that registered before sleeps while the key is exchanged, is rung, fetches, and has gone on with the new key
// by that: over devp2p and over HTTPS, through a restart, and through the end of the overlap.
func TestPushKeyIsExchanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Door.Enabled = true
	w.restart(t, true)
	first := w.PushKey()
	d := w.register(t)
	d.Sleep()
	report := w.rotatePush(t, false)
	require.Equal(t, PushKeyOverlap, report.State)
	require.WithinDuration(t, time.Now().Add(14*24*time.Hour), report.Until, time.Minute)
	require.Equal(t, []int{0, 1}, []int{report.Moved, report.All})
	require.False(t, first.Equal(w.PushKey()))
	require.Equal(t, hexutil.Encode(crypto.FromECDSAPub(w.PushKey())), report.Public)
	_, err := (&Admin{node: w.Node}).RotatePushKey(t.Context(), false)
	require.ErrorContains(t, err, "--now ends it at once")

	w.post(t, "in the overlap")
	require.Equal(t, []string{"in the overlap"}, shows(t, d, w.ring(t)))
	require.Equal(t, compressedHex(w.PushKey()), d.PushKey())
	require.Zero(t, w.pushKeyReport(t).Moved, "it has not asked with it")
	_, err = d.Status(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.pushKeyReport(t).Moved == 1 }, 10*time.Second, 5*time.Millisecond)

	// So does one that comes through the door, with a history, for which it needs the server's offer. One that is new
	// is given the new key, and knows the offer that the former one signed.
	for name, key := range map[string]*ecdsa.PublicKey{"the former key": first, "the new key": w.PushKey()} {
		browser := w.deviceOf(t, client.Config{Server: w.door, PushKey: compressedHex(key)})
		event, err := browser.History(t.Context())
		require.NoError(t, err, name)
		require.Len(t, event.Previews, 1, name)
		_, err = browser.Status(t.Context())
		require.True(t, client.IsRefused(err, pushwire.NotRegistered), "%s: %v", name, err)
		require.Equal(t, compressedHex(w.PushKey()), browser.PushKey(), name)
	}

	w.restart(t, true)
	require.Equal(t, PushKeyOverlap, w.pushKeyReport(t).State)
	require.Equal(t, 1, w.pushKeyReport(t).Moved)
	w.over(t)
	require.Equal(t, PushKeyOver, w.pushKeyReport(t).State)
	d = w.device(t, first) // as its app was set then
	require.Equal(t, compressedHex(w.PushKey()), d.PushKey())
	w.post(t, "after the overlap")
	require.Equal(t, []string{"after the overlap"}, shows(t, d, w.ring(t)))
	late := w.deviceOf(t, client.Config{Server: w.link.Self().URLv4(), PushKey: compressedHex(first)})
	_, err = late.Status(t.Context())
	require.True(t, client.IsRefused(err, pushwire.NotRegistered), "it comes late, and goes on all the same: %v", err)
	require.Equal(t, compressedHex(w.PushKey()), late.PushKey())
}

// A key that others may know is refused at once, and leads to no other: the app is given the next.
func TestPushKeyIsExchangedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	first := w.PushKey()
	d := w.register(t)
	require.Equal(t, PushKeyEnded, w.rotatePush(t, true).State)
	w.post(t, "to a device with the former key")
	push := w.ring(t)
	_, err := d.Receive(t.Context(), push)
	require.True(t, client.IsRefused(err, pushwire.Retired), "%v", err)
	require.Equal(t, compressedHex(first), d.PushKey())

	given := w.deviceOf(t, client.Config{
		Server: w.link.Self().URLv4(), PushKey: compressedHex(w.PushKey()), FormerPushKeys: []string{compressedHex(first)}, Store: &w.state,
	})
	require.Equal(t, []string{"to a device with the former key"}, shows(t, given, push), "nothing is lost")
	require.Eventually(t, func() bool { return w.pushKeyReport(t).Moved == 1 }, 10*time.Second, 5*time.Millisecond)

	// The same where an overlap is on its way.
	second := w.PushKey()
	require.Equal(t, PushKeyOverlap, w.rotatePush(t, false).State)
	third := w.PushKey()
	require.Equal(t, PushKeyEnded, w.rotatePush(t, true).State)
	require.True(t, third.Equal(w.PushKey()), "no other key is made for that")
	_, err = given.Status(t.Context())
	require.True(t, client.IsRefused(err, pushwire.Retired), "%v", err)
	require.Equal(t, compressedHex(second), given.PushKey())
}

// What the server signed of what it owes goes on over an exchange: heads of both keys are one ledger, which an honest
// server is not convicted by, and a History that the former key signed counts.
func TestLedgerGoesOnWithTheNextPushKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	d := w.register(t)
	p := &phone{Device: d, w: w}
	round := func(text string, count int) {
		t.Helper()
		w.post(t, text)
		require.Contains(t, shows(t, d, w.ring(t)), text)
		require.Eventually(t, func() bool {
			_, err := d.Status(t.Context())
			require.NoError(t, err)
			text, err := w.state.Load(t.Context())
			require.NoError(t, err)
			require.NoError(t, p.state.Save(t.Context(), text))
			heads := p.ledger(t).Heads
			return len(heads) > 0 && int(heads[len(heads)-1].Count) == count
		}, 10*time.Second, 20*time.Millisecond)
		_, err := d.History(t.Context())
		require.NoError(t, err)
		require.Nil(t, d.Evidence())
		require.Zero(t, d.Unproved())
	}
	require.Eventually(t, func() bool {
		_, err := d.Status(t.Context())
		require.NoError(t, err)
		text, err := w.state.Load(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.state.Save(t.Context(), text))
		return len(p.ledger(t).Heads) > 0
	}, 10*time.Second, 20*time.Millisecond)
	secret := p.ledger(t).Secret
	round("one", 1)
	w.rotatePush(t, false)
	round("two", 2)
	round("three", 3)
	require.Equal(t, secret, p.ledger(t).Secret, "it is the same ledger")
}

// An exchange that is interrupted at any moment leaves one key or the other.
func TestInterruptedExchangeOfThePushKey(t *testing.T) {
	cfg := config.Defaults()
	cfg.Node.DataDir = t.TempDir()
	before, err := loadPushKeys(cfg)
	require.NoError(t, err)
	path := PushKeyFile(cfg).Path()
	secret, err := os.ReadFile(path)
	require.NoError(t, err)
	nextSecret := bytes.Repeat([]byte{9}, secretSize)
	next, err := crypto.ToECDSA(nextSecret)
	require.NoError(t, err)

	require.NoError(t, writeSecret(path+nextSuffix, nextSecret))
	keys, err := loadPushKeys(cfg)
	require.NoError(t, err)
	require.True(t, keys.Current.Equal(before.Current), "the next key was written, and nothing more")
	require.NoFileExists(t, path+nextSuffix)

	require.NoError(t, writeSecret(path+nextSuffix, nextSecret))
	s, err := pushwire.NewSuccession(before.Current, next, 1, 2)
	require.NoError(t, err)
	signed, err := pushwire.EncodeSuccession(s)
	require.NoError(t, err)
	list := formerKeys{pushserver.KeyRecord{Former: []pushserver.FormerKeyRecord{{Key: hex.EncodeToString(crypto.FromECDSA(before.Current)), Next: compressedHex(&next.PublicKey), Until: time.Now().Add(time.Hour), Succession: signed}}}}
	require.NoError(t, list.write(FormerPushKeysPath(cfg)))
	for range 2 { // and it stays so
		keys, err = loadPushKeys(cfg)
		require.NoError(t, err)
		require.True(t, keys.Current.Equal(next), "the former key was put aside")
		require.Len(t, keys.Former, 1)
		require.True(t, keys.Former[0].Key.Equal(before.Current))
		require.Equal(t, &s, keys.Former[0].Succession)
		require.NoFileExists(t, path+nextSuffix)
	}

	// A key that is not the one behind the former ones is somebody's mistake.
	require.NoError(t, os.WriteFile(path, secret, 0o600))
	_, err = loadPushKeys(cfg)
	require.ErrorContains(t, err, "is not the one behind those in")
	require.NoError(t, os.WriteFile(FormerPushKeysPath(cfg), []byte("{"), 0o600))
	_, err = loadPushKeys(cfg)
	require.ErrorContains(t, err, "put the right file there")
	info, err := os.Stat(FormerPushKeysPath(cfg))
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077)
}

// The offer of a door is that of the key which is announced, from the moment of the exchange.
func TestDoorOffersTheNextPushKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Door.Enabled = true
	w.restart(t, true)
	offered := func() (signer *ecdsa.PublicKey, key string) {
		t.Helper()
		response, err := http.Get(w.door + "/.well-known/whisperpush")
		require.NoError(t, err)
		defer response.Body.Close()
		raw, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		env, err := whisper.DecodeEnvelope(raw)
		require.NoError(t, err)
		offer, signer, err := pushwire.OpenOffer(env)
		require.NoError(t, err)
		next, err := offer.PushKey(signer)
		require.NoError(t, err)
		return signer, hex.EncodeToString(next)
	}
	first := w.PushKey()
	signer, key := offered()
	require.True(t, signer.Equal(first))
	require.Equal(t, compressedHex(first), key)
	w.rotatePush(t, false)
	signer, key = offered()
	require.True(t, signer.Equal(first), "who knows the former key knows the offer")
	require.Equal(t, compressedHex(w.PushKey()), key)
	w.rotatePush(t, true)
	signer, key = offered()
	require.True(t, signer.Equal(w.PushKey()))
	require.Equal(t, compressedHex(w.PushKey()), key)
}

// Keys beyond the most that a server knows are dropped, the oldest first.
func TestFormerPushKeysAreFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.restart(t, true)
	for range pushserver.MaxFormerKeys + 2 {
		w.rotatePush(t, true)
	}
	list, err := readFormerKeys(FormerPushKeysPath(w.cfg))
	require.NoError(t, err)
	require.Len(t, list.Former, pushserver.MaxFormerKeys)
	w.restart(t, true)
	require.Equal(t, PushKeyEnded, w.pushKeyReport(t).State)
}

// A device that is connected while the key is exchanged is rung over its link as before, and goes on when it asks next.
func TestRungOverTheLinkWhileThePushKeyIsExchanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Push.Provider = append(w.cfg.Push.Provider, config.Provider{Name: "direct", Type: "direct"})
	w.restart(t, true)
	d := w.device(t, w.PushKey())
	route, err := d.DirectRoute("direct")
	require.NoError(t, err)
	require.NoError(t, d.Register(t.Context(), client.Registration{Routes: []pushwire.Route{route}}))
	ctx, cancel := context.WithCancel(t.Context())
	bodies, ended := make(chan []byte, 10), make(chan error, 1)
	heard := func() float64 {
		return gather.Sum(t, w.Metrics(), "whisperpush_pushext_requests_total", "kind", "status", "code", "ok")
	}
	before := heard()
	go func() {
		ended <- d.Listen(ctx, func(body []byte) error { bodies <- body; return nil })
	}()
	require.Eventually(t, func() bool { return heard() > before }, 15*time.Second, time.Millisecond)
	w.rotatePush(t, false)
	for _, text := range []string{"signed by the former key", "signed by the next key"} {
		w.post(t, text)
		select {
		case body := <-bodies:
			require.Equal(t, []string{text}, shows(t, d, body))
		case <-time.After(15 * time.Second):
			require.FailNow(t, "not rung", text)
		}
		require.Equal(t, compressedHex(w.PushKey()), d.PushKey())
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}
