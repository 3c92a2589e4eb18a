package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/archive"
	"whisperpush/whisper"
)

// What the network can bring, and what a recovery archives again soon, is not taken for imported.
func TestImported(t *testing.T) {
	expiry := time.Now().Truncate(time.Second)
	for late, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 20 * time.Second: false, time.Hour: false, time.Hour + time.Second: true, 1000 * time.Hour: true} {
		r := archive.Record{Received: expiry.Add(late), Envelope: &whisper.Envelope{Expiry: uint32(expiry.Unix())}}
		require.Equal(t, want, isImported(r), late)
	}
}
