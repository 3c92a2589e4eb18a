package registry

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
)

// BenchmarkOpenRegistry compares the start with a bare iteration over the same
// database.
func BenchmarkOpenRegistry(b *testing.B) {
	const registrations, channels = 20_000, 10
	dir := b.TempDir()
	s, err := vault.Open(dir, shelfSecret, durable.Options{})
	require.NoError(b, err)
	defer s.Close()
	post := box("post")
	open := func() *Registry {
		r, err := Open(s, Options{Limits: registration.Limits{PerSource: registrations}.WithDefaults(), Providers: []pushext.Provider{post}, SkipChallenge: []string{"post"}, Ends: noEnds{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		require.NoError(b, err)
		return r
	}
	r := open()
	rec := Record{Registration: registration.Registration{
		State: registration.Active, Expires: time.Unix(4_000_000_000, 0), SealKey: make([]byte, pushwire.SealKeySize), Collapse: randomID(),
		Routes: []registration.Route{{Provider: "post", Address: pushext.Address{Token: string(make([]byte, 160))}, Proven: true}},
	}, Proved: true}
	var edits []edit
	for n := range registrations {
		next := rec.clone()
		next.ID = registration.ID(n + 1)
		next.source = r.fingerprint(prefixSource, nil)
		binary.BigEndian.PutUint32(next.Key[:], uint32(n))
		for c := range channels {
			next.Channels = append(next.Channels, registration.Channel{Topic: shelfTopic(uint32(n*channels + c))})
		}
		edits = append(edits, edit{next: next})
		if len(edits) == 1000 {
			require.NoError(b, r.enter(edits...))
			edits = nil
		}
	}
	b.Run(fmt.Sprintf("open/registrations=%d", registrations), func(b *testing.B) {
		for b.Loop() {
			open()
		}
	})
	b.Run(fmt.Sprintf("scan/registrations=%d", registrations), func(b *testing.B) {
		for b.Loop() {
			it := s.Scan(PrefixListening)
			for it.Next() {
			}
			it.Release()
		}
	})
}
