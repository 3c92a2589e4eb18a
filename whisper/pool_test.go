package whisper

import (
	"math"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestPoolIsASet compares the pool with a plain map under every order of calls:
// the wheel must neither lose nor keep an envelope.
func TestPoolIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint32Range(1, math.MaxUint32-100).Draw(t, "start")
		now := start
		p := newPool(math.MaxInt, math.MaxInt64, now)
		model := make(map[common.Hash]*Envelope)
		serial := uint64(0)
		distance := rapid.OneOf(rapid.Uint32Range(0, 70), rapid.Uint32Range(0, 5000), rapid.Uint32())
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				serial++
				e := &Envelope{Expiry: now + min(distance.Draw(t, "after"), math.MaxUint32-now), raw: make([]byte, 10)}
				e.hash = common.BigToHash(common.Big1)
				e.hash[0], e.hash[1] = byte(serial), byte(serial>>8)
				added, _, _ := p.add([]weighed{{Envelope: e}}, false)
				require.Len(t, added, 1)
				model[e.hash] = e
			},
			"forget": func(t *rapid.T) {
				for _, e := range model {
					p.forget([]*Envelope{e})
					delete(model, e.hash)
					return
				}
			},
			"expire": func(t *rapid.T) {
				now += min(distance.Draw(t, "later"), math.MaxUint32-now)
				p.expire(now)
				for hash, e := range model {
					if e.Expiry < now {
						delete(model, hash)
					}
				}
			},
			"": func(t *rapid.T) {
				require.Len(t, p.envelopes, len(model))
				require.EqualValues(t, len(model)*(10+pooledOverhead), p.bytes)
				var walked []uint32
				for envelopes, next := p.after(0, false); len(envelopes) > 0; envelopes, next = p.after(next, false) {
					sooner := uint32(0)
					if len(walked) > 0 {
						sooner = slices.Max(walked)
					}
					for _, e := range envelopes {
						require.Contains(t, model, e.hash)
						require.Greater(t, e.Expiry, sooner)
						walked = append(walked, e.Expiry)
					}
				}
				require.Len(t, walked, len(model))
				if len(model) > 0 {
					require.NotNil(t, p.wheel.latest())
				}
			},
		})
	})
}

func pooledFor(t testing.TB, p *pool, e *Envelope) bool {
	t.Helper()
	added, _, _ := p.add([]weighed{{Envelope: e}}, false)
	return len(added) == 1
}

func TestPoolFullKeepsWhatExpiresSooner(t *testing.T) {
	const now = 1 << 30
	for name, p := range map[string]*pool{
		"by number": newPool(3, math.MaxInt64, now),
		"by bytes":  newPool(100, 3*weight(craft(t, now+1, 1, Topic{}, make([]byte, 100))), now),
	} {
		t.Run(name, func(t *testing.T) {
			at := func(expiry uint32, data byte) *Envelope {
				return craft(t, expiry, 1, Topic{}, slices.Repeat([]byte{data}, 100))
			}
			years, hour := at(now+1e8, 1), at(now+3600, 2)
			require.True(t, pooledFor(t, p, years))
			require.True(t, pooledFor(t, p, hour))
			require.True(t, pooledFor(t, p, at(now+50, 3)))

			require.True(t, pooledFor(t, p, at(now+51, 4)), "evicts what lives for years")
			require.False(t, pooledFor(t, p, years), "and does not take it again while full")
			require.True(t, pooledFor(t, p, at(now+10, 5)), "evicts what lives an hour")
			require.False(t, pooledFor(t, p, hour))
			require.Equal(t, 3, p.info().Envelopes)

			p.expire(now + 60)
			require.Equal(t, PoolInfo{}, p.info())
			require.True(t, pooledFor(t, p, years))
		})
	}
}

func TestPoolAfterAClockThatWentBack(t *testing.T) {
	p := newPool(10, math.MaxInt64, 1000)
	e := craft(t, 900, 1, Topic{}, []byte("data"))
	require.True(t, pooledFor(t, p, e))
	p.expire(800)
	require.Equal(t, 1, p.info().Envelopes)
	p.expire(1001)
	require.Zero(t, p.info())
}
