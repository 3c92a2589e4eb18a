package postgres

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestCacheAgrees plays reads that take their time, writes that fail and are committed all the same, later or never, and
// servers that take over: what the cache says a key's value is, the database says too.
func TestCacheAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache()
		keys := []string{"a", "b", "c"}
		database := map[string][]byte{}
		type read struct {
			key   string
			value []byte
			seen  bool // the database has answered
		}
		var reads []*read
		var under map[string][]byte // the write under way, or whose outcome is not known
		unsure := false
		apply := func() {
			for key, value := range under {
				database[key] = value
			}
		}
		n, term := 0, uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 7).Draw(t, "what"); {
			case what <= 1: // a read begins
				key := rapid.SampledFrom(keys).Draw(t, "key")
				if value, ok := c.get(term, []byte(key)); !ok {
					reads = append(reads, &read{key: key})
				} else if !bytes.Equal(value, database[key]) {
					t.Fatalf("%s is %q, and cached as %q", key, database[key], value)
				}
			case what == 2 && len(reads) > 0: // the database answers it, or it ends
				i := rapid.IntRange(0, len(reads)-1).Draw(t, "read")
				switch r := reads[i]; {
				case !r.seen:
					r.value, r.seen = database[r.key], true
				case rapid.Bool().Draw(t, "fails"):
					c.giveUp([]byte(r.key))
					reads = append(reads[:i], reads[i+1:]...)
				default:
					c.keep([]byte(r.key), r.value)
					reads = append(reads[:i], reads[i+1:]...)
				}
			case what == 3 && under == nil: // a write begins
				under = map[string][]byte{}
				for range rapid.IntRange(1, 2).Draw(t, "changes") {
					n++
					under[rapid.SampledFrom(keys).Draw(t, "key")] = fmt.Appendf(nil, "%d", n)
				}
				if rapid.Bool().Draw(t, "deletes") {
					under[keys[0]] = nil
				}
				c.write(under)
			case what == 4 && under != nil && !unsure: // it is committed, and acknowledged or not
				apply()
				if unsure = rapid.Bool().Draw(t, "unsure"); !unsure {
					c.wrote(under)
					under = nil
				}
			case what == 5 && under != nil: // it fails as far as is known, and may be committed later
				unsure = true
				if rapid.Bool().Draw(t, "later") {
					apply()
				}
			case what == 6 && unsure: // its outcome is fixed
				if rapid.Bool().Draw(t, "another server") {
					clear(database) // which had none of it
				}
				c.settled()
				under, unsure = nil, false
			case what == 7 && under == nil: // the lease did not hold for a moment, and somebody else was there
				term++
				for _, r := range reads {
					if !r.seen {
						r.value, r.seen = database[r.key], true
					}
				}
				n++
				database[rapid.SampledFrom(keys).Draw(t, "key")] = fmt.Appendf(nil, "other's %d", n)
				if _, ok := c.get(term, []byte("of the new term")); !ok {
					c.giveUp([]byte("of the new term"))
				}
			}
			size := 0
			for _, at := range c.entries {
				size += at.Value.(*cached).size()
			}
			if size != c.bytes || len(c.entries) != c.latest.Len() {
				t.Fatalf("%d bytes in %d entries are counted as %d in %d", size, len(c.entries), c.bytes, c.latest.Len())
			}
		}
	})
}

// A cache keeps the latest, and no more than it may.
func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	value := make([]byte, 1000)
	const many = 2 * cacheBytes / 1000
	for i := range many {
		key := fmt.Appendf(nil, "key %d", i)
		_, ok := c.get(0, key)
		require.False(t, ok)
		c.keep(key, value)
		_, ok = c.get(0, []byte("key 0"))
		require.True(t, ok, "it is asked for all the time")
		require.LessOrEqual(t, c.bytes, cacheBytes)
	}
	require.Greater(t, len(c.entries), many/3)
	require.Empty(t, c.reading)
}

// A shard's values are the caller's, also those that it remembers.
func TestCachedValuesAreCopies(t *testing.T) {
	node := opened(t, database(t), Options{}).Shards("a", nil)
	beat(t, node)
	s, err := node.Open(background, 1)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Write(put("key", "value")))
	for range 2 {
		value, err := s.Get([]byte("key"))
		require.NoError(t, err)
		require.Equal(t, "value", string(value))
		value[0] = 'X'
	}
	require.Len(t, s.cache.entries, 1)
}

// An owner whose lease has ended does not answer from what it remembers, nor when it has a lease again: another one may
// have written meanwhile.
func TestFormerOwnerReadsWhatIsThere(t *testing.T) {
	d := opened(t, database(t), Options{})
	late, heir := d.Shards("late", nil), d.Shards("heir", nil)
	beat(t, late)
	s, err := late.Open(background, 3)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Write(put("key", "the late one's")))
	requireValue(t, s, "key", "the late one's")

	expire(t, late)
	late.until = time.Now() // as it is by its clock then
	beat(t, heir)
	next, err := heir.Open(background, 3)
	require.NoError(t, err)
	defer next.Close()
	require.NoError(t, next.Write(put("key", "the heir's")))
	requireValue(t, s, "key", "the heir's")

	beat(t, late)
	_, ok := late.holds()
	require.True(t, ok)
	requireValue(t, s, "key", "the heir's")
}
