package registry

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable"
	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// model is what the registry should hold of one key.
type model struct {
	version  uint64
	live     bool
	channels map[whisper.Topic]bool
}

// TestRegistryModel plays requests in any order, old ones included, and checks
// after each that the last version wins, and that index, disk and a registry
// opened again agree: by a snapshot after a clean stop, by reading all after a
// power cut, and whatever became of the snapshot's file.
func TestRegistryModel(t *testing.T) {
	temp := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(temp, "")
		require.NoError(t, err)
		disk := faultstore.New()
		post := box("post")
		open := func(dir string) (*Registry, *vault.Vault) {
			s, err := vault.Open(dir, shelfSecret, durable.Options{Storage: disk})
			require.NoError(t, err)
			r, err := Open(s, Options{Limits: registration.Limits{}.WithDefaults(), Providers: []pushext.Provider{post}, SkipChallenge: []string{"post"}, Ends: noEnds{}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			return r, s
		}
		r, s := open(dir)
		reopen := func() {
			scanned, all := open("")
			require.NoError(t, all.Close())
			r, s = open(dir)
			require.Equal(t, scanned.tally, r.tally)
			require.Equal(t, scanned.index.Registrations(), r.index.Registrations())
			require.Equal(t, scanned.index.Image().Topics, r.index.Image().Topics)
		}
		file := filepath.Join(dir, snapshotName)
		var older []byte // a snapshot's file of once
		now := time.Unix(1_800_000_000, 0)
		var models [3]model
		topic := rapid.Custom(func(t *rapid.T) whisper.Topic { return whisper.Topic{rapid.Byte().Draw(t, "topic") % 4} })
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			who := rapid.IntRange(0, len(models)-1).Draw(t, "who")
			m := &models[who]
			key := [33]byte{byte(who)}
			version := rapid.Uint64Range(1, 12).Draw(t, "version")
			topics := rapid.SliceOfNDistinct(topic, 0, 3, rapid.ID[whisper.Topic]).Draw(t, "topics")
			var channels []pushwire.Channel
			for _, t := range topics {
				channels = append(channels, pushwire.Channel{Topic: t})
			}
			newer := version > m.version
			switch rapid.SampledFrom([]string{"register", "channels", "remove", "unregister", "reopen", "cut", "stop", "spoil"}).Draw(t, "what") {
			case "register":
				_, _, err := r.Register(key, "", &pushwire.Register{
					Version: version, Plain: true, Channels: channels, Routes: []pushwire.Route{{Provider: "post", Address: []byte{'0' + byte(who)}}},
				}, now)
				if newer {
					require.NoError(t, err)
					*m = model{version, true, make(map[whisper.Topic]bool)}
					for _, topic := range topics {
						m.channels[topic] = true
					}
				}
			case "channels", "remove":
				remove := len(channels) > 0 && channels[0].Topic[0]%2 == 0
				for i := range channels {
					if remove {
						channels[i].Mode = pushwire.Removed
					}
				}
				_, err := r.Update(key, &pushwire.Channels{Version: version, Channels: channels}, now)
				if newer && m.live {
					require.NoError(t, err)
					m.version = version
					for _, topic := range topics {
						if remove {
							delete(m.channels, topic)
						} else {
							m.channels[topic] = true
						}
					}
				}
			case "unregister":
				_, err := r.Unregister(key, version, now)
				if newer && m.version > 0 {
					require.NoError(t, err)
					*m = model{version: version}
				}
			case "reopen":
				saved := r.saved
				require.NoError(t, s.Close())
				reopen()
				require.Equal(t, saved, r.saved)
			case "cut":
				saved, left := r.saved, disk.Disk().Crash(rand.New(rand.NewPCG(1, version))).Store("db")
				require.NoError(t, s.Close())
				disk = left
				reopen()
				require.Equal(t, saved, r.saved)
			case "stop":
				require.NoError(t, r.Save(context.Background()))
				require.NoError(t, s.Close())
				reopen()
				require.True(t, r.saved)
			case "spoil":
				saved := r.saved
				require.NoError(t, s.Close())
				now, err := os.ReadFile(file)
				require.Equal(t, saved, err == nil, "no file without a record")
				switch {
				case version%3 == 0 && older != nil:
					require.NoError(t, os.WriteFile(file, older, 0o600))
				case version%3 == 1 && saved:
					spoilt := bytes.Clone(now)
					spoilt[int(version)*len(spoilt)/13] ^= 1 << (version % 8)
					require.NoError(t, os.WriteFile(file, spoilt, 0o600))
				default:
					require.NoError(t, os.RemoveAll(file))
				}
				reopen()
				require.False(t, r.saved && older == nil)
				if saved {
					older = now
				}
			}
			size := 0
			for who := range models {
				m := &models[who]
				rec, err := r.Lookup([33]byte{byte(who)})
				require.NoError(t, err)
				if m.version == 0 {
					require.Nil(t, rec)
					continue
				}
				require.Equal(t, m.version, rec.Version)
				require.Equal(t, m.live, rec.Live())
				_, found := r.Get(rec.ID)
				require.Equal(t, m.live, found)
				for n := range byte(4) {
					hit := false
					r.Match(whisper.Topic{n}, now, func(id registration.ID) {
						require.False(t, hit && id == rec.ID, "twice")
						hit = hit || id == rec.ID
					})
					require.Equal(t, m.live && m.channels[whisper.Topic{n}], hit)
				}
				size += len(m.channels)
			}
			require.Equal(t, size, r.index.Size())
			require.Equal(t, size, r.channels)
			r.agrees(t)
		}
		require.NoError(t, s.Close())
	})
}
