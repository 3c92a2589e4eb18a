package pushserver

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
)

// hushed is a log whose entries come late, with others from elsewhere, while quiet is set.
type hushed struct {
	pushext.Log
	quiet bool
}

func (h *hushed) Follow(ctx context.Context, after uint64, fn func([]pushext.Entry) error) error {
	return h.Log.Follow(ctx, after, func(entries []pushext.Entry) error {
		for i := range entries {
			entries[i].Quiet = h.quiet
		}
		return fn(entries)
	})
}

// Nobody is woken for what was imported, and the place in the log moves on.
func TestQuietEntries(t *testing.T) {
	log := new(hushed)
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topicA))
		log.quiet = true
		b.envelope(topicA)
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Empty(t, bob.payloads())
		require.Equal(t, b.archive.Last(), b.ext.Position())
		log.quiet = false
		b.envelope(topicA)
		time.Sleep(time.Minute)
		require.Len(t, bob.payloads(), 1)
	}, func(c *Config) { log.Log = c.Log; c.Log = log })
}
