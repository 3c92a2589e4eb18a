package servers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/pushnode"
	"whisperpush/whisper"
)

var _ inbox.Device = (*Several)(nil)

func TestMain(m *testing.M) { pushnode.Main(m) }

// town is mailservers that know each other, one push service, and a phone.
type town struct {
	t     *testing.T
	fcm   *emulate.FCM
	token string
	nodes []*pushnode.Node

	*Several
	got map[string]int // how often a message was given
}

func newTown(t *testing.T, servers int) *town {
	t.Helper()
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	w := &town{t: t, fcm: fcm, token: fcm.NewToken(), got: map[string]int{}}
	for range servers {
		w.nodes = append(w.nodes, pushnode.StartWith(t, fcm, func(cfg *config.Config) {
			for _, n := range w.nodes {
				cfg.Node.StaticNodes = append(cfg.Node.StaticNodes, n.Enode())
			}
		}))
	}
	w.Several = New()
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func family() client.Chat {
	return client.Chat{Name: "family", Topic: whisper.TopicFor("family"), Key: make([]byte, whisper.SymmetricKeySize)}
}

// device is a new account at a server.
func (w *town) device(at int) (pushKey string, d *client.Device) {
	w.t.Helper()
	pushKey = w.nodes[at].Key()
	d, err := client.Open(w.t.Context(), client.Config{Server: w.nodes[at].Enode(), PushKey: pushKey, Chats: []client.Chat{family()}, Complete: true})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, d.Close()) })
	return pushKey, d
}

func (w *town) registration() client.Registration {
	return client.Registration{Routes: []pushwire.Route{{Provider: "fcm", Address: []byte(w.token)}}}
}

// begin registers with the first server.
func (w *town) begin() {
	key, d := w.device(0)
	require.NoError(w.t, w.Add(key, d))
	require.NoError(w.t, d.Register(w.t.Context(), w.registration()))
	w.until(d.Active)
}

// write puts a message of somebody else on the network by way of a server.
func (w *town) write(at int, text string) {
	w.t.Helper()
	w.nodes[at].Write(w.t, family(), text)
}

// take is what an app does with what it is given.
func (w *town) take(e client.Event, err error) {
	w.t.Helper()
	require.NoError(w.t, err)
	var hashes []common.Hash
	for _, p := range e.Previews {
		w.got[p.Text]++
		hashes = append(hashes, p.Hash)
	}
	require.NoError(w.t, w.Shown(w.t.Context(), hashes...))
}

// until handles pushes until something holds.
func (w *town) until(holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case push := <-w.fcm.Pushes(w.token):
			w.take(w.Receive(ctx, push.Body))
		case <-ctx.Done():
			require.FailNow(w.t, "it did not come about within 30 s", "%v", w.got)
		}
	}
}

func (w *town) has(text string) func() bool { return func() bool { return w.got[text] > 0 } }

// once requires that each of these messages was given exactly once.
func (w *town) once(texts ...string) {
	w.t.Helper()
	want := map[string]int{}
	for _, text := range texts {
		want[text] = 1
	}
	require.Equal(w.t, want, w.got)
}

// Moving from one server to another misses nothing and gives nothing twice, whatever is
// written meanwhile; and then the former one can be switched off.
func TestMove(t *testing.T) {
	w := newTown(t, 2)
	w.begin()
	w.write(0, "before")
	w.until(w.has("before"))

	key, next := w.device(1)
	w.write(0, "told by the former alone")
	require.NoError(t, w.Move(t.Context(), key, next, w.registration()))
	for i := range 5 {
		w.write(i%2, fmt.Sprint("meanwhile ", i))
	}
	w.until(func() bool { return len(w.Servers()) == 1 })
	require.Equal(t, []string{key}, w.Servers())
	w.nodes[0].Stop()
	w.write(1, "after")
	w.until(w.has("after"))
	w.take(w.History(t.Context()))
	w.once("before", "told by the former alone", "meanwhile 0", "meanwhile 1", "meanwhile 2", "meanwhile 3", "meanwhile 4", "after")
}

// A server that is killed is noticed within minutes, and the next one goes on, with what was
// written in between.
func TestServerDies(t *testing.T) {
	w := newTown(t, 2)
	w.begin()
	clock := time.Now()
	w.now = func() time.Time { return clock }
	found, err := w.Check(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, Fine, found[0].Verdict)
	require.Positive(t, found[0].RoundTrip)

	w.nodes[0].Stop()
	w.write(1, "while it is dead")
	for minutes := 0; found[0].Verdict != Dead; minutes++ {
		require.LessOrEqual(t, minutes, 4)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		found, err = w.Check(ctx, true)
		cancel()
		require.NoError(t, err)
		require.Zero(t, found[0].RoundTrip)
		clock = clock.Add(time.Minute)
	}
	key, next := w.device(1)
	require.NoError(t, w.Move(t.Context(), key, next, w.registration()))
	w.until(func() bool { return len(w.Servers()) == 1 && w.got["while it is dead"] > 0 })
	w.write(1, "by the next")
	w.until(w.has("by the next"))
	w.once("while it is dead", "by the next")
}

// Registered with two, each message is given once; and of a server that rings for nothing any
// more this is noticed, although it answers.
func TestServerWithholds(t *testing.T) {
	w := newTown(t, 2)
	w.begin()
	key, second := w.device(1)
	require.NoError(t, w.Add(key, second))
	require.NoError(t, second.Register(t.Context(), w.registration()))
	w.until(second.Active)
	w.write(0, "to both")
	w.until(w.has("to both"))
	clock := time.Now()
	w.now = func() time.Time { return clock }
	check := func() []Finding {
		found, err := w.Check(t.Context(), false)
		require.NoError(t, err)
		return found
	}
	check()
	places := w.all()
	waits := func(p *place) bool {
		p.watch.mu.Lock()
		defer p.watch.mu.Unlock()
		return len(p.watch.probes) > 0
	}
	w.until(func() bool { return !waits(places[0]) && !waits(places[1]) })

	// The second one keeps its registration, and nothing of what is on the network rings.
	first := places[0].device
	w.nodes[1].Whisper().Stop()
	for range 2 {
		places[1].watch.Probed(clock)
		clock = clock.Add(grace)
	}
	require.Equal(t, Withholds, places[1].watch.Verdict(clock))
	w.write(0, "by the first alone")
	w.until(w.has("by the first alone"))
	require.True(t, first.Active())
	w.once("to both", "by the first alone")
	require.ElementsMatch(t, []client.Chat{family()}, w.Chats())
}

func TestNowhere(t *testing.T) {
	s := New()
	_, err := s.History(t.Context())
	require.ErrorIs(t, err, ErrNowhere)
	_, err = s.Receive(t.Context(), nil)
	require.ErrorIs(t, err, ErrNowhere)
	_, err = s.Check(t.Context(), true)
	require.ErrorIs(t, err, ErrNowhere)
	require.ErrorIs(t, s.Move(t.Context(), "", nil, client.Registration{}), ErrNowhere)
}

// What was given and not acknowledged is remembered within a bound, and told apart from what
// another server has: that is a copy.
func TestGivenIsBounded(t *testing.T) {
	s := New()
	one, two := new(place), new(place)
	preview := func(n int) client.Event {
		return client.Event{Previews: []client.Preview{{Hash: common.Hash{byte(n), byte(n >> 8), 1}, Message: common.Hash{byte(n), byte(n >> 8)}}}}
	}
	for n := range 2*maxGiven + 1 {
		event := preview(n)
		s.take(t.Context(), one, &event)
		require.Len(t, event.Previews, 1)
		require.LessOrEqual(t, len(s.given), maxGiven)
	}
	again := preview(2 * maxGiven)
	s.take(t.Context(), two, &again)
	require.Empty(t, again.Previews)
	require.Len(t, again.Copies, 1)
}
