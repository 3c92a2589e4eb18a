package registry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/spacing"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// codeModel counts what codes should hold, in the plainest way.
type codeModel struct {
	c      *codes
	flying []registration.Fare
	spent  map[whisper.Source]spacing.Bucket
}

func (m *codeModel) count(like func(registration.Fare) bool) (n int) {
	for _, f := range m.flying {
		if like(f) {
			n++
		}
	}
	return n
}

// held is how much is held.
func (c *codes) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.providers) + len(c.lanes) + len(c.sources) + len(c.addresses)
}

// Whatever is held and released in any order, no share is exceeded, nobody is
// refused whose shares are free, and nothing is left behind.
func TestCodesShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := registration.Limits{Challenges: 3, ChallengedPerSource: 80}.WithDefaults()
		m := &codeModel{c: newCodes(limits), spent: make(map[whisper.Source]spacing.Bucket)}
		now := shelfNow
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second)
			if len(m.flying) > 0 && rapid.IntRange(0, 2).Draw(t, "end") == 0 {
				at := rapid.IntRange(0, len(m.flying)-1).Draw(t, "which")
				class := rapid.SampledFrom([]pushext.Class{pushext.Delivered, pushext.TokenDead, pushext.Retry, pushext.MessageBad}).Draw(t, "class")
				f := m.flying[at]
				m.flying = append(m.flying[:at], m.flying[at+1:]...)
				m.c.release(f, class)
				b := m.spent[f.Source]
				switch class {
				case pushext.Delivered:
				case pushext.TokenDead:
					b.Full = b.Full.Add((deadCost - 1) * f.Cost)
				default:
					b.Full = b.Full.Add(-f.Cost)
				}
				m.spent[f.Source] = b
				continue
			}
			f := registration.Fare{
				Lane:    registration.Lane{Provider: "hook", Host: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "host")},
				Source:  whisper.Source(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "source")),
				Address: [16]byte{rapid.Byte().Draw(t, "address") % 40},
			}
			left := rapid.SampledFrom([]float64{1, 1, 0.5, 0.01}).Draw(t, "left")
			budget := m.c.paced(left)
			served := rapid.IntRange(0, 1).Draw(t, "served")
			b := m.spent[f.Source]
			free := served+m.count(func(o registration.Fare) bool { return o.Address == f.Address }) < 3 &&
				m.count(func(o registration.Fare) bool { return o.Source == f.Source }) < maxSourceCodes &&
				b.Wait(now, budget) == 0
			err := m.c.hold(&f, served, left, now)
			require.Equal(t, free, err == nil, err)
			if err == nil {
				b.Take(now, budget)
				m.spent[f.Source] = b
				m.flying = append(m.flying, f)
			}
		}
		for _, f := range m.flying {
			m.c.release(f, pushext.Retry)
		}
		require.Zero(t, m.c.held())
	})
}

// One host has a part of its provider's room, and there is a bound on the
// sources that are remembered.
func TestCodesOfOneHost(t *testing.T) {
	c := newCodes(registration.Limits{}.WithDefaults())
	of := func(host string, n int) *registration.Fare {
		return &registration.Fare{Lane: registration.Lane{Provider: "hook", Host: host}, Source: source(n), Address: [16]byte{byte(n), byte(n >> 8), byte(n >> 16)}}
	}
	hold := func(host string, n int) error { return c.hold(of(host, n), 0, 1, shelfNow) }
	for n := range maxLaneCodes {
		require.NoError(t, hold("one", n))
	}
	require.Equal(t, pushwire.Busy, codeOf(t, hold("one", 5000)))
	require.NoError(t, hold("two", 5000))
	for n := range maxCodeSources + 10 {
		require.NoError(t, hold("", 10_000+n))
		c.release(*of("", 10_000+n), pushext.Delivered)
	}
	require.Equal(t, maxCodeSources, c.spent.Len())
}

// The addresses that were challenged are forgotten a day later, a batch at a
// time, and their number is always the true one.
func TestSweepChallenged(t *testing.T) {
	s := newShelf(t)
	count := func() (n int) {
		it := s.store.Scan(prefixChallenged)
		defer it.Release()
		for it.Next() {
			n++
		}
		return n
	}
	address := func(n int) [16]byte { return [16]byte{byte(n >> 8), byte(n)} }
	const addresses = sweepChallengedBatch + 1000
	for n := range addresses {
		require.NoError(t, s.countChallenge(address(n), shelfNow.Add(time.Duration(n)*time.Second)))
	}
	// One that is challenged again while the others are swept stays.
	late := shelfNow.Add(challengeDay + 4200*time.Second - 1)
	require.NoError(t, s.countChallenge(address(7), late))
	require.NoError(t, s.sweepChallenged(late))
	require.Equal(t, addresses-4200+1, count())
	require.Equal(t, count(), s.challenged)
	served, err := s.settled().served(address(7), late)
	require.NoError(t, err)
	require.Len(t, served, 1)
	require.NoError(t, s.sweepChallenged(late.Add(2*challengeDay)))
	require.Zero(t, count())
	require.Zero(t, s.challenged)
}

// However many sources name as many addresses as they may, the day of the server is not
// spent, and another source has a part of what is left.
func TestDayIsNeverSpent(t *testing.T) {
	limits := registration.Limits{Challenged: 100_000}.WithDefaults()
	c := newCodes(limits)
	now, challenged := shelfNow, 0
	name := func(of int) bool {
		left := float64(limits.Challenged-challenged) / float64(limits.Challenged)
		f := registration.Fare{Source: source(of), Address: [16]byte{byte(challenged), byte(challenged >> 8), byte(challenged >> 16)}}
		if err := c.hold(&f, 0, left, now); err != nil {
			require.Equal(t, pushwire.Busy, codeOf(t, err))
			return false
		}
		c.release(f, pushext.Delivered)
		challenged++
		return true
	}
	for hour := range 24 {
		for of := range 100 { // who could name 400,000 a day, if it were there
			for name(of) {
			}
		}
		require.True(t, name(1000+hour), "after %d hours and %d addresses", hour+1, challenged)
		now = now.Add(time.Hour)
	}
	require.Greater(t, challenged, limits.Challenged/2)
	require.Less(t, challenged, limits.Challenged)
	t.Logf("100 sources named %d of %d addresses in a day", challenged, limits.Challenged)
}
