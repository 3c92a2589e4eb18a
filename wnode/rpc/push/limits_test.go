package push

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// ring is what callers have put into the namespace shh: one key.
type ring struct{}

func (ring) GetSymKey(context.Context, string) (hexutil.Bytes, error) {
	return bytes.Repeat([]byte{7}, whisper.SymmetricKeySize), nil
}
func (ring) GetPrivateKey(context.Context, string) (hexutil.Bytes, error) {
	return nil, errors.New("invalid id")
}

// open serves a directory, with a mailserver that cannot be reached.
func open(t *testing.T, dir string, key byte) (*API, error) {
	t.Helper()
	network, err := whisper.NewNode(whisper.Config{})
	require.NoError(t, err)
	require.NoError(t, network.Start())
	t.Cleanup(network.Stop)
	server, err := crypto.GenerateKey()
	require.NoError(t, err)
	pushKey := hex.EncodeToString(crypto.CompressPubkey(&server.PublicKey))
	a, stop, err := New(Config{
		Dir: dir, Keys: ring{}, Network: network,
		Key: func() ([]byte, error) { return bytes.Repeat([]byte{key}, KeySize), nil },
		Own: func() (string, string) {
			return "enode://" + hex.EncodeToString(crypto.FromECDSAPub(&server.PublicKey)[1:]) + "@127.0.0.1:1", pushKey
		},
	})
	if err == nil {
		t.Cleanup(stop)
	}
	return a, err
}

func TestDevicesAreBounded(t *testing.T) {
	a, err := open(t, t.TempDir(), 1)
	require.NoError(t, err)
	for i := range maxDevices {
		_, err := a.NewDevice(t.Context(), NewDevice{Name: fmt.Sprint(i)})
		require.NoError(t, err)
	}
	_, err = a.NewDevice(t.Context(), NewDevice{Name: "more"})
	require.ErrorIs(t, err, errTooMany)
	known, err := a.DeleteDevice(t.Context(), "0")
	require.NoError(t, err)
	require.True(t, known, "it was never registered")
	_, err = a.NewDevice(t.Context(), NewDevice{Name: "more"})
	require.NoError(t, err)
}

func TestArgumentsAreBounded(t *testing.T) {
	a, err := open(t, t.TempDir(), 1)
	require.NoError(t, err)
	_, err = a.NewDevice(t.Context(), NewDevice{Name: "a"})
	require.NoError(t, err)

	many := make([]Channel, maxChannels+1)
	for i := range many {
		many[i] = Channel{Topic: whisper.Topic{1, 2, byte(i >> 8), byte(i)}, SymKeyID: "key"}
	}
	_, err = a.AddChannels(t.Context(), "a", many)
	require.ErrorIs(t, err, errTooManyChannels)
	_, err = a.AddChannels(t.Context(), "a", many[:maxChannels])
	require.NoError(t, err)
	_, err = a.AddChannels(t.Context(), "a", many[maxChannels:])
	require.ErrorIs(t, err, errTooManyChannels)
	known, err := a.Channels(t.Context(), "a")
	require.NoError(t, err)
	require.Len(t, known, maxChannels, "as before")

	long := strings.Repeat("x", maxSetting+1)
	_, err = a.AddChannels(t.Context(), "a", []Channel{{Name: long, Topic: whisper.Topic{1}, Password: "p"}})
	require.ErrorContains(t, err, "the name of a channel")
	_, err = a.NewDevice(t.Context(), NewDevice{Name: "b", Server: long, PushKey: "0x"})
	require.ErrorIs(t, err, errLongSetting)
	_, err = a.Shown(t.Context(), "a", make([]common.Hash, maxHashes+1))
	require.ErrorContains(t, err, "hashes at once")
	_, err = a.Fetch(t.Context(), "a", make([]common.Hash, maxHashes+1))
	require.ErrorContains(t, err, "hashes at once")
	_, err = a.Receive(t.Context(), "a", make([]byte, maxPush+1))
	require.ErrorContains(t, err, "at most")
}

// A subscriber that does not read is told that more waits, and what waits for them stays within its limits.
func TestWaitingPreviewsAreBounded(t *testing.T) {
	for name, event := range map[string]Event{
		"number": {Previews: make([]Preview, 16)},
		"bytes":  {Previews: []Preview{{Payload: make([]byte, maxWaitingBytes/8)}}},
		"events": {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed(true)
			for range 2 * maxWaiting {
				f.offer(event)
			}
			require.LessOrEqual(t, f.held, maxWaiting)
			require.LessOrEqual(t, f.bytes, maxWaitingBytes)
			require.LessOrEqual(t, len(f.events), maxWaiting)
			told, more := 0, false
			for next := f.next(); next != nil; next = f.next() {
				e := next.(Event)
				more = e.More
				if !more {
					told++
				}
			}
			require.Positive(t, told)
			require.Less(t, told, 2*maxWaiting)
			require.True(t, more, "the last one says so")
			require.Zero(t, f.held+f.bytes)
			f.offer(event)
			require.Equal(t, event, f.next(), "it goes on")
		})
	}
	f := newFeed(true)
	huge := Event{Previews: []Preview{{Payload: make([]byte, 2*maxWaitingBytes)}}}
	f.offer(huge)
	require.Equal(t, huge, f.next(), "alone it may be larger")
}

func TestWaitingStatesAreBounded(t *testing.T) {
	f := newFeed(false)
	for i := range 2 * maxStates {
		f.became(State{Reason: fmt.Sprint(i)})
	}
	require.Len(t, f.states, maxStates)
	require.Equal(t, State{Reason: fmt.Sprint(maxStates)}, f.next(), "the oldest went")
}

func TestRememberedMessagesAreBounded(t *testing.T) {
	a, err := open(t, t.TempDir(), 1)
	require.NoError(t, err)
	d := newDevice(a, new(account))
	for i := range 2 * maxUnshown {
		d.gave([]common.Hash{{byte(i >> 8), byte(i)}})
	}
	require.Len(t, d.unshown, maxUnshown)
	last := common.Hash{byte((2*maxUnshown - 1) >> 8), 0xff}
	require.Contains(t, d.unshown, last)
	d.shown([]common.Hash{last})
	require.Len(t, d.unshown, maxUnshown-1)
}

// On the disk nothing tells a name, a topic, a server or a key; a file works in its own place and under its own key alone.
func TestDevicesAreSealed(t *testing.T) {
	dir := t.TempDir()
	a, err := open(t, dir, 1)
	require.NoError(t, err)
	for _, name := range []string{"kitchen-tablet", "desktop"} {
		_, err = a.NewDevice(t.Context(), NewDevice{Name: name, MailPassword: "open sesame"})
		require.NoError(t, err)
		_, err = a.AddChannels(t.Context(), name, []Channel{{Name: "the family", Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}, SymKeyID: "key"}})
		require.NoError(t, err)
		_, err = a.Devices(t.Context()) // which opens them
		require.NoError(t, err)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "an account and a state each")
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		for _, secret := range []string{"kitchen", "sesame", "family", "5a4ea131", "0707", "enode", "pushKey"} {
			require.NotContains(t, entry.Name()+string(content), secret)
		}
		info, err := entry.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077)
	}

	again, err := open(t, dir, 1)
	require.NoError(t, err)
	known, err := again.Channels(t.Context(), "desktop")
	require.NoError(t, err)
	require.Len(t, known, 1)

	_, err = open(t, dir, 2)
	require.ErrorIs(t, err, errSealed)
	require.ErrorContains(t, err, dir)

	// What a crash left goes; a device whose account is damaged is left out, and stays.
	c := a.cabinet
	account, other := c.base("desktop")+accountFile, c.base("kitchen-tablet")+accountFile
	unfinished, orphan := account+".123", strings.Repeat("0", 32)+stateFile
	for _, name := range []string{unfinished, orphan} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	moved, err := os.ReadFile(filepath.Join(dir, other))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, account), moved, 0o600))
	again, err = open(t, dir, 1)
	require.NoError(t, err)
	devices, err := again.Devices(t.Context())
	require.NoError(t, err)
	require.Len(t, devices, 1)
	require.Equal(t, "kitchen-tablet", devices[0].Name)
	require.NoFileExists(t, filepath.Join(dir, unfinished))
	require.NoFileExists(t, filepath.Join(dir, orphan))
	require.FileExists(t, filepath.Join(dir, account))
}

func TestOffersAreBounded(t *testing.T) {
	var o offers
	now := time.Unix(1e9, 0)
	offer := func(issued, expires uint64) client.Discovered {
		key, err := crypto.GenerateKey()
		require.NoError(t, err)
		return client.Discovered{Offer: pushwire.Offer{Issued: issued, Expires: expires}, PushKey: &key.PublicKey}
	}
	first := offer(1, uint64(now.Unix())+1)
	o.add(first, now)
	for range maxOffers {
		o.add(offer(1, uint64(now.Unix())+100), now)
	}
	list := o.list(now)
	require.Len(t, list, maxOffers)
	for _, left := range list {
		require.Equal(t, uint64(now.Unix())+100, left.Expires, "the first one went, as it ends first")
	}
	require.Empty(t, o.list(now.Add(time.Hour)), "all are over")

	newer := offer(5, uint64(now.Unix())+100)
	o.add(newer, now)
	older := newer
	older.Issued = 4
	o.add(older, now)
	require.Equal(t, uint64(5), o.list(now)[0].Issued, "an older one takes the place of none")
}
