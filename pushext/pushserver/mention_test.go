package pushserver

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/group"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Where a member of a group is rung is to the server a topic like any other: what it
// keeps in memory and on disk, logs and counts is the same, but for the topics' bytes and
// what is random in any case.
func TestMentionTopicLooksLikeAnyOther(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	book, err := group.OpenBook(t.Context(), new(client.MemoryStore), key)
	require.NoError(t, err)
	_, err = book.Found(t.Context(), "choir")
	require.NoError(t, err)
	var rings []whisper.Topic
	for _, c := range book.Chats() {
		if !c.Unlisted && !slices.Contains(rings, c.Topic) {
			rings = append(rings, c.Topic)
		}
	}
	require.Len(t, rings, 2, "of this epoch and the next")
	require.Equal(t, observe(t, topicA, topicB), observe(t, rings[0], rings[1]))
}

// observation is all that a server has of a device that is woken on two topics.
type observation struct {
	record  registration.Registration // without what is random
	listens []registration.Channel    // likewise
	disk    []string
	log     []string // the lines in their order by text: which of two goroutines writes first is chance
	metrics map[string]float64
}

var random = regexp.MustCompile(`0x[0-9a-f]+|[0-9a-f]{8,}|\d+(\.\d+)?(ns|µs|ms|s)\b`)

func observe(t *testing.T, topics ...whisper.Topic) (o observation) {
	bedTest(t, Limits{}, func(b *bed) {
		bob := b.phone("bob")
		bob.join(bob.registration(topics...))
		for i := range 20 {
			b.envelope(topics[i%len(topics)])
			time.Sleep(time.Minute)
			for _, p := range bob.payloads() {
				require.Equal(t, pushwire.OK, bob.ask(&pushwire.Fetch{Hashes: p.Hashes}).Code)
			}
		}
		b.envelope(topics[0])
		time.Sleep(time.Minute)
		rec, err := b.ext.registry.Lookup(keyOf(bob))
		require.NoError(t, err)
		o.record = rec.Registration
		o.record.Key, o.record.SealKey, o.record.Collapse = [33]byte{}, nil, ""
		for _, c := range rec.Channels {
			o.listens = append(o.listens, registration.Channel{Mode: c.Mode, Muted: c.Muted})
		}
		o.metrics = make(map[string]float64)
		families, err := b.cfg.Registerer.(*prometheus.Registry).Gather()
		require.NoError(t, err)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				o.metrics[f.GetName()+fmt.Sprint(m.GetLabel())] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		require.Greater(t, len(o.metrics), 30)
		o.log = strings.Split(random.ReplaceAllString(b.out.String(), "…"), "\n")
		slices.Sort(o.log)
		b.stop()
		for _, f := range b.disk.Files() {
			o.disk = append(o.disk, fmt.Sprint(f.Type, " ", len(b.disk.Bytes(f))))
			for _, topic := range topics {
				require.False(t, bytes.Contains(b.disk.Bytes(f), topic[:]), "%s", strings.ToUpper(topic.String()))
			}
		}
		b.cfg.Registerer = prometheus.NewRegistry()
		b.start() // for the end of the test
	})
	return o
}
