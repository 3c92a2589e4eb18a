package inbox

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/pushext/client"
	"whisperpush/whisper"
)

// history is what happened to the phones of one person.
type history struct {
	*cast
	*opener
	side
	t        require.TestingT
	phones   []*phone
	next     int                  // of letters
	read     map[common.Hash]bool // messages that the user has read, and knows that it was kept
	maybe    map[common.Hash]bool // messages that they may have read
	replies  map[string]bool
	restored bool
	again    []bool // phones on which something may sound again
	crashes  []int
	muted    map[whisper.Topic]bool // at some time
	trace    []string
	happened *sync.Map
	alone    bool // without a chat of the phones' own

	mu     sync.Mutex // guards the following
	pushes []push     // on the way
}

// side is the server's side of a history: a mailserver with its archive, the way to the
// push services, and devices that are registered.
type side interface {
	// join makes a device for a phone, once.
	join(p *phone)
	// device is the phone's device in a process that starts, and ended is told that it
	// has ended.
	device(p *phone) (Device, error)
	ended(p *phone)
	// backUp returns what the phone's device keeps, for putBack.
	backUp(p *phone) any
	putBack(p *phone, kept any)
	// post has somebody put an envelope on the network.
	post(e *whisper.Envelope)
	// envelopes are those in the archive.
	envelopes() []*whisper.Envelope
	// rings says that pushes are what the server's are, so that they can be counted, and
	// owes that the server tells each phone what was read on others.
	rings() bool
	owes() bool
	// trouble does something to the server or the push service, and says what.
	trouble(a, b int) string
	// rest returns when nobody does anything, and calm when all trouble is over and
	// nothing is under way any more.
	rest()
	calm()
	close()
}

// push is one that is on its way to a phone.
type push struct {
	to   int
	body []byte
	what string
	name string // it replaces one of the same name that has not arrived; empty: none

	hashes int // that it names
}

// pushed puts a push on its way.
func (h *history) pushed(p push) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.name != "" {
		h.pushes = slices.DeleteFunc(h.pushes, func(other push) bool { return other.name == p.name && other.to == p.to })
	}
	h.pushes = append(h.pushes, p)
}

// takePush takes one of the pushes on the way, which stays if stay is set.
func (h *history) takePush(n int, stay bool) (push, bool) {
	h.rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pushes) == 0 {
		return push{}, false
	}
	at := n % len(h.pushes)
	taken := h.pushes[at]
	if !stay {
		h.pushes = slices.Delete(h.pushes, at, at+1)
	}
	return taken, true
}

func newHistory(t require.TestingT, s setting) *history {
	h := &history{
		cast: castOnce(), opener: &opener{make(map[opening]*client.Preview), make(map[*whisper.Envelope]common.Hash)}, t: t,
		read: make(map[common.Hash]bool), maybe: make(map[common.Hash]bool), replies: make(map[string]bool), muted: make(map[whisper.Topic]bool),
		again: make([]bool, s.phones), crashes: make([]int, s.phones), happened: s.happened,
	}
	h.side = s.against(h)
	h.alone = s.alone && h.owes()
	return h
}

// chats are those that a phone has; late: also those whose keys come late.
func (h *history) chats(late bool) []client.Chat {
	chats := []client.Chat{h.family, h.work, h.decoy, h.bell}
	if late {
		chats = append(chats, h.late)
	}
	if !h.alone {
		chats = append(chats, h.cast.sync)
	}
	return chats
}

// begin makes the phones.
func (h *history) begin() {
	for id := range h.again {
		p := &phone{
			id: id, disk: new(disk), tray: make(map[common.Hash]Notification), loud: make(map[common.Hash]int),
			chats: h.chats(id == 1), lister: id == 1, ios: id == 0,
		}
		h.phones = append(h.phones, p)
		h.join(p)
	}
	for _, p := range h.phones {
		h.start(p)
	}
}

// start starts the app of a phone.
func (h *history) start(p *phone) {
	p.dead = false
	p.disk.step = func() (int, bool) {
		if err := p.step(); err != nil {
			return p.torn, false
		}
		return 0, true
	}
	device, err := h.device(p)
	require.NoError(h.t, err)
	var app App = p
	if p.lister {
		app = listingPhone{p}
	}
	i, err := Open(context.Background(), Config{
		Device: device, App: app, Own: []*ecdsa.PrivateKey{h.bob}, Sync: h.syncChat(), storage: p.disk,
	})
	if p.dead {
		h.stopped(p)
		return
	}
	if errors.Is(err, errFull) {
		h.ended(p)
		return
	}
	require.NoError(h.t, err)
	p.inbox = i
	h.reshow(p)
}

// syncChat is the chat of the phones' own, if they have one.
func (h *history) syncChat() *client.Chat {
	if h.alone {
		return nil
	}
	return &h.cast.sync
}

// reshow is what an app does when its notifications were lost.
func (h *history) reshow(p *phone) {
	if p.lost {
		err := p.inbox.Reshow(context.Background())
		p.lost = err != nil
		h.did(p, err)
	}
}

// stopped is the end of a process.
func (h *history) stopped(p *phone) {
	p.inbox, p.dead, p.left = nil, true, 0
	h.ended(p)
	h.crashes[p.id]++
}

// did takes note of how a call ended.
func (h *history) did(p *phone, err error) {
	if p.dead {
		h.stopped(p)
		return
	}
	if err != nil && !errors.Is(err, errFull) {
		gaveUp := new(client.GaveUpError)
		require.ErrorAs(h.t, err, &gaveUp, "what fails is the network")
	}
}

// TestModel does anything in any order to up to three phones of one person: messages
// come, pushes arrive late, twice or not at all, the user reads, deletes, mutes, blocks
// and answers, processes end at any write and any call, networks go, backups are put back.
// When it is quiet again, what is shown is what is unread, not muted and not blocked, all
// phones count alike, nothing is lost, and nothing sounded or was sent twice.
func TestModel(t *testing.T) {
	for _, game := range []struct {
		name      string
		histories int
		scripts   *rapid.Generator[[]operation]
		against   func(*history) side
		events    []string
	}{
		{"server modelled", *histories, scriptOf(12), newSimServer, nil},
		{"server itself", *served, scriptOf(6), newRealServer, troubles},
	} {
		t.Run(game.name, func(t *testing.T) {
			if game.histories == 0 {
				t.Skip("no histories were asked for")
			}
			castOnce()
			workers := min(runtime.GOMAXPROCS(0), game.histories)
			require.NoError(t, flag.Set("rapid.checks", strconv.Itoa(max(game.histories/workers, 1))))
			var happened sync.Map
			begun := time.Now()
			t.Run("histories", func(t *testing.T) {
				for worker := range workers {
					t.Run(fmt.Sprint(worker), func(t *testing.T) {
						t.Parallel()
						rapid.Check(t, func(rt *rapid.T) {
							s := setting{phones: 1 + below(3).Draw(rt, "phones"), alone: below(4).Draw(rt, "alone") == 3, against: game.against, happened: &happened}
							if wrong := runHistory(t, s, game.scripts.Draw(rt, "script")); wrong != "" {
								rt.Log(wrong)
								rt.Fatal(errWrong)
							}
						})
					})
				}
			})
			passed := time.Since(begun)
			t.Logf("%d histories in %s, %.0f a second", game.histories, passed.Round(time.Second), float64(game.histories)/passed.Seconds())
			for _, event := range append(game.events,
				"somebody writes %q", "the last letter comes in another envelope", "a push arrives: %s", "a push is lost: %s",
				"asks for the history", "flushes", "reads %q", "reads chat %s", "deletes %q", "mutes %s until %s", "blocks %d: %t",
				"ends after %d steps", "is backed up", "is restored", "offline: %t", "action %d on %q", "has all keys",
			) {
				_, ok := happened.Load(event)
				require.True(t, ok || t.Failed(), "in no history: %s", event)
			}
		})
	}
}

// histories and served are how many TestModel runs; make model runs many more. With the race
// detector each takes five times as long.
var (
	histories = flag.Int("model.histories", 1000, "run this many `HISTORIES` in TestModel with a modelled server")
	served    = flag.Int("model.served", 100, "run this many `HISTORIES` in TestModel with the server itself")
)

// setting is what a history begins with.
type setting struct {
	phones   int
	alone    bool // the phones have no chat of their own to tell each other what was read, if the server tells them
	against  func(*history) side
	happened *sync.Map // takes the events, as say has them
}

// errWrong is always the same: what is told of a history beside it may have times that are
// not, and a failure that seems to be another is not shrunk.
var errWrong = errors.New("this history ends wrongly")

// failed is what is wrong with a history. It ends it.
type failed struct{ text string }

func (f *failed) Errorf(format string, args ...any) { f.text += fmt.Sprintf(format, args...) }

func (f *failed) FailNow() { panic(f) }

// runHistory runs one history in time of its own, and returns what is wrong with it,
// with what happened.
func runHistory(t *testing.T, s setting, script []operation) (wrong string) {
	synctest.Test(t, func(*testing.T) {
		f := new(failed)
		var h *history
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
			if f.text != "" {
				wrong = strings.Join(append(h.trace, f.text), "\n")
			}
		}()
		defer func() {
			if h != nil {
				h.side.close()
			}
		}()
		h = newHistory(f, s)
		h.begin()
		for _, o := range script {
			h.do(o)
		}
		h.settleDown()
		h.check()
	})
	return wrong
}
