package pushwire

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

// The longest answer to a Status fits into a reply: whatever a server lets a
// registration hold, its device can ask for.
func TestLongestStatusFits(t *testing.T) {
	status := &StatusReply{
		Version: math.MaxUint64, Expires: math.MaxUint64, Seq: math.MaxUint64,
		Limits:   Limits{Routes: MaxRoutes, Channels: math.MaxUint64, Lifetime: math.MaxUint64, Fetch: MaxFetch, PoW: math.MaxFloat64},
		Standing: Standing{Now: math.MaxUint64, Epoch: math.MaxUint64, Log: make([]byte, MaxLogID)},
	}
	for range MaxRoutes {
		status.Routes = append(status.Routes, RouteStatus{
			Provider: strings.Repeat("p", MaxProviderName), State: math.MaxUint8, Reason: strings.Repeat("r", MaxText), Doubt: math.MaxUint64,
		})
	}
	for i := range MaxHeldChannels {
		topic := whisper.Topic{0xff, 0xff, byte(i >> 8), byte(i)}
		status.Channels = append(status.Channels, Channel{Topic: topic, Mode: Muted, MutedUntil: math.MaxUint32}) // servers keep seconds in four bytes
	}
	for range MaxHeldRevoked {
		status.Revoked = append(status.Revoked, strings.Repeat("h", MaxHolder))
	}
	b, err := EncodeReply(Reply{Code: Limit, Text: strings.Repeat("t", MaxText), Body: status})
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), MaxPayload)
	t.Logf("%d bytes of %d", len(b), MaxPayload)
}
