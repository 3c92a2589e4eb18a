// Package providertest is what every push provider must do, as a test suite. A
// provider's own test calls Run with a constructor and an adapter to the
// emulator of its push service:
//
//	func TestConformance(t *testing.T) {
//		providertest.Run(t, providertest.Harness{New: func(t *testing.T) (pushext.Provider, providertest.Backend) { … }})
//	}
//
// It is imported only by tests.
package providertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
)

// Fault is a way in which a push service answers.
type Fault int

// Faults of a push service.
const (
	None        Fault = iota // it works
	Unavailable              // it fails and does not say for how long: 500 or 503
	Throttled                // too many requests, with a time to come back: 429 with Retry-After
	Gone                     // it says exactly that the address is gone
	Malformed                // it refuses the message, whoever it is for: too large, bad form
	Refused                  // it refuses the sender: credentials, project, certificate
	Hang                     // it takes the request and never answers
	Reset                    // it breaks the connection
	Garbage                  // it answers with a success that cannot be read, or with an unknown status and text
)

var faults = map[Fault]string{
	None: "none", Unavailable: "unavailable", Throttled: "throttled", Gone: "gone", Malformed: "malformed",
	Refused: "refused", Hang: "hang", Reset: "reset", Garbage: "garbage",
}

// String is the fault's name.
func (f Fault) String() string { return faults[f] }

// Received is a notification as the app on the device got it.
type Received struct {
	Body       []byte // the JSON object
	CollapseID string // as far as the service carries it, else ""
	TTL        time.Duration
	Urgent     bool
}

// Backend is a push service that can be told what to answer.
type Backend interface {
	// Device registers one more device and returns its address.
	Device() pushext.Address
	// Script makes the service answer every request for addr so, until told
	// otherwise. after is the Retry-After of Throttled, in whole seconds.
	Script(addr pushext.Address, f Fault, after time.Duration)
	// Received lists what was accepted for addr, in order.
	Received(addr pushext.Address) []Received
}

// Harness makes a provider and its service for each test, and says what the
// service is.
type Harness struct {
	// New returns a provider that pushes to a fresh Backend; both are closed
	// by t.Cleanup.
	New func(t *testing.T) (pushext.Provider, Backend)
	// Lacks lists the faults that the service has no answer for.
	Lacks []Fault
	// NoCollapse, NoTTL and NoUrgency say what the service does not carry.
	NoCollapse, NoTTL, NoUrgency bool
	// Spellings returns other spellings of an address that Device returned, each under
	// what is different, for a provider that is a pushext.Canonicalizer.
	Spellings func(pushext.Address) map[string]pushext.Address
	// BadAddresses must be refused by Check, each under what is wrong with it.
	BadAddresses map[string]pushext.Address
}

// retryAfter is asked for by Throttled.
const retryAfter = 37 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("name", h.name)
	t.Run("check", h.check)
	t.Run("canonical", h.canonical)
	t.Run("delivered", h.delivered)
	t.Run("plain", h.plain)
	for f, want := range map[Fault][]pushext.Class{
		Unavailable: {pushext.Retry, pushext.RetryAt, pushext.Absent},
		Throttled:   {pushext.RetryAt, pushext.Retry},
		Gone:        {pushext.TokenDead},
		Malformed:   {pushext.MessageBad},
		Refused:     {pushext.ProviderBroken},
		Reset:       {pushext.Retry, pushext.Absent},
		Garbage:     {pushext.Retry, pushext.MessageBad, pushext.ProviderBroken},
	} {
		t.Run(f.String(), func(t *testing.T) { h.fault(t, f, want) })
	}
	t.Run("hang", h.hang)
	t.Run("cancelled", h.cancelled)
	t.Run("concurrent", h.concurrent)
}

// notification is a sealed wake-up as the dispatcher sends it.
func notification(t *testing.T, addr pushext.Address) pushext.Notification {
	_, public, err := pushwire.NewSealKey()
	require.NoError(t, err)
	var hash common.Hash
	rand.Read(hash[:])
	body, err := pushwire.SealPayload(pushwire.Payload{Kind: pushwire.Messages, Seq: 1, Hashes: []common.Hash{hash}}, public)
	require.NoError(t, err)
	return pushext.Notification{
		Address: addr, Body: body, CollapseID: "abcdefghijklmnopqrstuv", TTL: 24 * time.Hour,
		Urgent: true, Visible: true, ID: "0123456789abcdefghijkl",
	}
}

var validName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (h Harness) name(t *testing.T) {
	p, _ := h.New(t)
	require.Regexp(t, validName, p.Name())
	require.Equal(t, p.Name(), p.Name())
}

func (h Harness) check(t *testing.T) {
	p, b := h.New(t)
	addr := b.Device()
	require.NoError(t, p.Check(addr))
	require.NotEqual(t, addr.Token, b.Device().Token)
	if l, ok := p.(pushext.Laner); ok {
		require.NotEmpty(t, l.Lane(addr))
		require.Equal(t, l.Lane(addr), l.Lane(addr))
	}
	bad := map[string]pushext.Address{
		"empty":    {},
		"enormous": {Token: strings.Repeat("x", 100_000), Keys: addr.Keys},
		"control":  {Token: addr.Token + "\r\nX-Injected: 1", Keys: addr.Keys},
		"zero":     {Token: addr.Token + "\x00", Keys: addr.Keys},
	}
	maps.Copy(bad, h.BadAddresses)
	for what, addr := range bad {
		err := p.Check(addr)
		require.Error(t, err, what)
		if len(addr.Token) > 8 {
			require.NotContains(t, err.Error(), addr.Token, what)
		}
	}
}

// canonical checks that spellings of one address are one address.
func (h Harness) canonical(t *testing.T) {
	p, b := h.New(t)
	c, ok := p.(pushext.Canonicalizer)
	if !ok {
		require.Nil(t, h.Spellings, "a pushext.Canonicalizer would make one of them")
		return
	}
	addr := b.Device()
	one := c.Canonical(addr)
	require.Equal(t, addr.Keys, one.Keys)
	require.NotEqual(t, one, c.Canonical(b.Device()), "another device is another address")
	spellings := map[string]pushext.Address{}
	if h.Spellings != nil {
		spellings = h.Spellings(addr)
	}
	for what, other := range spellings {
		require.NotEqual(t, addr, other, what)
		require.NoError(t, p.Check(other), what)
		require.Equal(t, one, c.Canonical(other), what)
	}
	require.NoError(t, p.Check(one))
	require.Equal(t, one, c.Canonical(one))
	if l, ok := p.(pushext.Laner); ok {
		for what, other := range spellings {
			require.Equal(t, l.Lane(one), l.Lane(other), what)
		}
	}
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(t, one)).Class)
	for what, other := range spellings {
		v := p.Push(t.Context(), notification(t, other))
		require.Equal(t, pushext.Delivered, v.Class, "%s: %s", what, v.Reason)
	}
	require.Len(t, b.Received(addr), 1+len(spellings), "all reach the one device")
	require.Equal(t, pushext.Address{Token: "#"}, c.Canonical(pushext.Address{Token: "#"}), "none that passes Check")
}

func (h Harness) delivered(t *testing.T) {
	p, b := h.New(t)
	addr, other := b.Device(), b.Device()
	n := notification(t, addr)
	sent := bytes.Clone(n.Body)
	v := p.Push(t.Context(), n)
	require.Equal(t, pushext.Delivered, v.Class, v.Reason)
	require.Equal(t, sent, n.Body, "the body is the caller's")
	clear(n.Body) // and may be used again

	quiet := notification(t, addr)
	quiet.TTL, quiet.Urgent, quiet.Visible = time.Minute, false, false
	quiet.CollapseID = "d" + quiet.CollapseID // as of a dismissal
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), quiet).Class)
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(t, addr)).Class)

	got := b.Received(addr)
	require.Len(t, got, 3)
	sameObject(t, sent, got[0].Body)
	sameObject(t, quiet.Body, got[1].Body)
	if !h.NoCollapse {
		require.NotEmpty(t, got[0].CollapseID)
		require.NotEqual(t, got[0].CollapseID, got[1].CollapseID, "a dismissal replaces no wake-up")
		require.Equal(t, got[0].CollapseID, got[2].CollapseID)
	}
	if !h.NoTTL {
		// Some services take a point in time, in whole seconds.
		require.InDelta(t, (24 * time.Hour).Seconds(), got[0].TTL.Seconds(), 60)
		require.InDelta(t, time.Minute.Seconds(), got[1].TTL.Seconds(), 60)
		require.Less(t, got[1].TTL, got[0].TTL)
	}
	if !h.NoUrgency {
		require.True(t, got[0].Urgent)
		require.False(t, got[1].Urgent)
	}
	require.Empty(t, b.Received(other))
}

// plain sends the largest body of the plain form, whose types survive only if the
// provider takes care.
func (h Harness) plain(t *testing.T) {
	p, b := h.New(t)
	n := notification(t, b.Device())
	payload := pushwire.Payload{Kind: pushwire.Messages, Seq: 1<<53 + 1, More: true}
	for i := range pushwire.MaxHashes {
		payload.Hashes = append(payload.Hashes, common.Hash{byte(i), 31: 1})
	}
	var err error
	n.Body, err = pushwire.PlainPayload(payload)
	require.NoError(t, err)
	v := p.Push(t.Context(), n)
	require.Equal(t, pushext.Delivered, v.Class, v.Reason)
	got := b.Received(n.Address)
	require.Len(t, got, 1)
	opened, err := pushwire.OpenPayload(got[0].Body, nil)
	require.NoError(t, err)
	require.Equal(t, payload, opened)
}

// sameObject compares JSON objects; numbers keep all digits.
func sameObject(t *testing.T, want, got []byte) {
	t.Helper()
	read := func(b []byte) (v map[string]any) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		require.NoError(t, d.Decode(&v), "%s", b)
		require.False(t, d.More())
		return v
	}
	require.Equal(t, read(want), read(got))
}

func (h Harness) fault(t *testing.T, f Fault, want []pushext.Class) {
	if slices.Contains(h.Lacks, f) {
		t.Skipf("the service has no answer for %q", f)
	}
	p, b := h.New(t)
	var reasons []string
	for range 2 {
		addr := b.Device()
		b.Script(addr, f, retryAfter)
		before := time.Now()
		v := p.Push(t.Context(), notification(t, addr))
		require.Contains(t, want, v.Class, v.Reason)
		require.Empty(t, b.Received(addr))
		private(t, v, addr)
		reasons = append(reasons, v.Reason)
		switch f {
		case Throttled:
			// Whomever it concerns, it is obeyed; a host that a user named speaks for
			// itself at most.
			if _, ok := p.(pushext.Laner); ok {
				require.NotEqual(t, pushext.ScopeProvider, v.Scope)
			}
			require.False(t, v.At.Before(before.Add(retryAfter-time.Second)), "%v is too early", v.At)
			require.False(t, v.At.After(time.Now().Add(retryAfter+time.Second)), "%v is too late", v.At)
		case Gone:
			require.False(t, v.At.After(time.Now().Add(time.Minute)), "dead since the future")
		}
		b.Script(addr, None, 0)
		v = p.Push(t.Context(), notification(t, addr))
		require.Equal(t, pushext.Delivered, v.Class, "%s: it works again", v.Reason)
		require.Len(t, b.Received(addr), 1)
	}
	require.Equal(t, reasons[0], reasons[1], "a reason is one of few")
}

// private checks that a verdict tells nothing about the address.
func private(t *testing.T, v pushext.Verdict, addr pushext.Address) {
	t.Helper()
	require.NotEmpty(t, v.Reason)
	require.LessOrEqual(t, len(v.Reason), 64)
	require.NotContains(t, v.Reason, "://")
	require.NotContains(t, v.Reason, "127.0.0.1")
	require.NotContains(t, v.Reason, addr.Token)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", addr, addr, addr), addr.Token)
}

func (h Harness) hang(t *testing.T) {
	if slices.Contains(h.Lacks, Hang) {
		t.Skip("the service cannot hang")
	}
	p, b := h.New(t)
	addr := b.Device()
	b.Script(addr, Hang, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	v := p.Push(ctx, notification(t, addr)) // or the test never ends
	require.Equal(t, pushext.Retry, v.Class, v.Reason)
	private(t, v, addr)

	// Others are served meanwhile.
	held, release := context.WithCancel(t.Context())
	ended := make(chan pushext.Verdict, 1)
	n := notification(t, addr)
	go func() { ended <- p.Push(held, n) }()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(t, b.Device())).Class)
	release()
	require.Equal(t, pushext.Retry, (<-ended).Class)
}

func (h Harness) cancelled(t *testing.T) {
	p, b := h.New(t)
	addr := b.Device()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := p.Push(ctx, notification(t, addr))
	require.Equal(t, pushext.Retry, v.Class, v.Reason)
	require.Empty(t, b.Received(addr))
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(t, addr)).Class, "nothing sticks")
}

// concurrent is for the race detector, too.
func (h Harness) concurrent(t *testing.T) {
	const devices, pushes = 8, 4
	p, b := h.New(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	classes := make(map[pushext.Class]int)
	var addrs []pushext.Address
	for i := range devices {
		addr := b.Device()
		addrs = append(addrs, addr)
		if i%4 == 3 && !slices.Contains(h.Lacks, Unavailable) {
			b.Script(addr, Unavailable, 0)
		}
		for range pushes {
			n := notification(t, addr)
			wg.Go(func() {
				v := p.Push(t.Context(), n)
				mu.Lock()
				defer mu.Unlock()
				classes[v.Class]++
			})
		}
	}
	wg.Wait()
	received := 0
	for _, addr := range addrs {
		received += len(b.Received(addr))
	}
	require.Equal(t, classes[pushext.Delivered], received)
	failing := devices / 4 * pushes
	if slices.Contains(h.Lacks, Unavailable) {
		failing = 0
	}
	require.Equal(t, devices*pushes-failing, received)
}
