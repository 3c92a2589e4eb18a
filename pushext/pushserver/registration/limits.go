package registration

import (
	"cmp"
	"time"

	"whisperpush/pushext/pushwire"
)

// Limits bound everything about registrations and requests that a stranger can
// grow. Zero means the default given at the field.
type Limits struct {
	// Of one registration.
	Routes   int           // 4, at most pushwire.MaxRoutes
	Channels int           // 1000, at most pushwire.MaxHeldChannels
	Revoked  int           // 256 revoked holders, including those of earlier requests, at most pushwire.MaxHeldRevoked
	Lifetime time.Duration // 30 days, the longest time until it has to be renewed
	// SealedOnly refuses the form that shows hashes to push services. Nothing is sent in it,
	// not even for registrations that asked for it earlier.
	SealedOnly bool

	// Of all registrations.
	Registrations int // 1,000,000, from one source no more than are free
	AllChannels   int // 20,000,000, from one source no more than are free; an indexed one takes about 45 bytes of memory
	PerAddress    int // 8 that claim one address, of which at most one owns it
	PerGroup      int // 16 that share a group id
	PerHandle     int // 4 that share a handle and its root
	// Unconfirmed (10,000) is how many registrations that never proved an address
	// may be held, and UnconfirmedPerSource (256) how many of those from one source.
	// Beyond that, those of the source with the most give way. PerSource (4096) is
	// how many in all may have come from one source. A source is a network:
	// thousands of devices may share one of a mobile carrier.
	Unconfirmed          int
	UnconfirmedPerSource int
	PerSource            int

	// Challenges: a code proves an address for ChallengeLife (5 minutes), and
	// one address gets at most Challenges (3) in 24 hours.
	Challenges    int
	ChallengeLife time.Duration
	// Challenged (1,000,000) is how many addresses that were challenged in the past
	// 24 hours are remembered. ChallengedPerSource (4096) is how many of them one
	// source may name, an eighth of them at once. A dead address counts
	// sixteenfold.
	Challenged          int
	ChallengedPerSource int
	// Tombstone (30 days) is how long the key and version of an ended
	// registration are kept; Tombstones (100,000) is how many are kept.
	Tombstone  time.Duration
	Tombstones int

	// Requests.
	Clock      time.Duration // 5 minutes, how far a request's time may be off
	Replays    int           // 65,536 request IDs remembered
	Fetch      int           // 64 hashes in a Fetch or Seen, at most pushwire.MaxFetch
	FetchBytes int           // 4 MiB of envelopes in answer to one Fetch
	PoW        float64       // pushwire.DefaultPoW asked of a request's envelope; negative: none
	Queue      int           // 1024 waiting requests; the peer with the most makes room
	Workers    int           // 4 requests at a time
	PeerRate   float64       // 20 requests a second from one peer, with a burst of PeerBurst (80)
	PeerBurst  int
	// PeerQueue (16) and SourceQueue (128) are how many requests of one peer and of
	// one source may wait.
	PeerQueue, SourceQueue int
}

// WithDefaults replaces zeros by the defaults and reduces values that the protocol
// cannot carry.
func (l Limits) WithDefaults() Limits {
	l.Routes = cmp.Or(l.Routes, 4)
	l.Channels = cmp.Or(l.Channels, 1000)
	l.Revoked = cmp.Or(l.Revoked, 256)
	l.Lifetime = cmp.Or(l.Lifetime, 30*24*time.Hour)
	l.Registrations = cmp.Or(l.Registrations, 1_000_000)
	l.AllChannels = cmp.Or(l.AllChannels, 20_000_000)
	l.Unconfirmed = cmp.Or(l.Unconfirmed, 10_000)
	l.UnconfirmedPerSource = cmp.Or(l.UnconfirmedPerSource, 256)
	l.PerSource = cmp.Or(l.PerSource, 4096)
	l.PerAddress = cmp.Or(l.PerAddress, 8)
	l.PerGroup = cmp.Or(l.PerGroup, 16)
	l.PerHandle = cmp.Or(l.PerHandle, 4)
	l.Challenges = cmp.Or(l.Challenges, 3)
	l.ChallengeLife = cmp.Or(l.ChallengeLife, 5*time.Minute)
	l.Challenged = cmp.Or(l.Challenged, 1_000_000)
	l.ChallengedPerSource = cmp.Or(l.ChallengedPerSource, 4096)
	l.Tombstone = cmp.Or(l.Tombstone, 30*24*time.Hour)
	l.Tombstones = cmp.Or(l.Tombstones, 100_000)
	l.Clock = cmp.Or(l.Clock, 5*time.Minute)
	l.Replays = cmp.Or(l.Replays, 65_536)
	l.Fetch = cmp.Or(l.Fetch, pushwire.MaxFetch)
	l.FetchBytes = cmp.Or(l.FetchBytes, 4<<20)
	l.PoW = cmp.Or(l.PoW, pushwire.DefaultPoW)
	l.Queue = cmp.Or(l.Queue, 1024)
	l.Workers = cmp.Or(l.Workers, 4)
	l.PeerRate = cmp.Or(l.PeerRate, 20)
	l.PeerBurst = cmp.Or(l.PeerBurst, 80)
	l.PeerQueue = cmp.Or(l.PeerQueue, 16)
	l.SourceQueue = cmp.Or(l.SourceQueue, max(128, l.PeerQueue))
	l.Routes = min(l.Routes, pushwire.MaxRoutes)
	l.Channels = min(l.Channels, pushwire.MaxHeldChannels)
	l.Revoked = min(l.Revoked, pushwire.MaxHeldRevoked)
	l.Fetch = min(l.Fetch, pushwire.MaxFetch)
	l.PoW = max(l.PoW, 0)
	return l
}

// Wire returns the limits in the form that clients get.
func (l Limits) Wire() pushwire.Limits {
	return pushwire.Limits{
		Routes:   uint64(l.Routes),
		Channels: uint64(l.Channels),
		Lifetime: uint64(l.Lifetime / time.Second),
		Fetch:    uint64(l.Fetch),
		PoW:      l.PoW,
		Sealed:   l.SealedOnly,
	}
}
