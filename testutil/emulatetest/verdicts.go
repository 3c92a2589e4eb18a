package emulatetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
)

// Heeds says what a Retry-After applies to.
type Heeds int

const (
	Nobody  Heeds = iota // the answer is not one that passes with time, whatever its header says
	Address              // only this address waits
	Host                 // what the user's host says applies to all its addresses
	Lane                 // what the push service says applies to everybody
)

// scope is how far a verdict with such a Retry-After must reach.
func (h Heeds) scope() pushext.Scope {
	return [...]pushext.Scope{pushext.ScopeDefault, pushext.ScopeAddress, pushext.ScopeHost, pushext.ScopeProvider}[h]
}

// Row is one answer of a push service, and the verdict that it must lead to.
type Row struct {
	Says   emulate.Answer // TOKEN in its message and body becomes the device's
	Class  pushext.Class  // without a readable Retry-After
	Reason string
	Heeds  Heeds
	Scope  pushext.Scope // if it differs from that of Heeds
	Pause  time.Duration // without a readable Retry-After
	Since  time.Time     // since when a dead token is dead, if the answer says so
	OAuth  bool          // the answer is from the token endpoint
}

// Bench is a provider connected to an emulator in memory.
type Bench struct {
	Provider pushext.Provider
	Service  *emulate.Service
	// Device registers a device and returns its address, and its token at the
	// emulator. nil is for services where the token is the address.
	Device func() (pushext.Address, string)
	// ScriptOAuth scripts the token endpoint, for rows with OAuth set.
	ScriptOAuth func(...emulate.Answer)
}

func (b Bench) device() (pushext.Address, string) {
	if b.Device != nil {
		return b.Device()
	}
	token := b.Service.NewToken()
	return pushext.Address{Token: token}, token
}

// Raw is an answer that the emulator does not give by itself.
func Raw(status int, body string) emulate.Answer {
	return emulate.Answer{Status: status, Body: []byte(body)}
}

// Table is what a provider makes of all answers that its service may give.
type Table struct {
	Kind string // the beginning of its reasons
	// New makes a Bench in the bubble of one row, with an emulator at
	// emulate.Memory; t.Cleanup closes it.
	New  func(t *testing.T) Bench
	Rows []Row
	// Codes are the service's own error codes, each of which needs a row.
	Codes []string
	// Patience is how long the provider waits for an answer. 0 means
	// attempt.DefaultTimeout.
	Patience time.Duration
}

// retryAfter are the forms of the header, and what to make of them: RFC 9110 section
// 10.2.3.
var retryAfter = []struct {
	name  string
	value func(now time.Time) string
	wait  time.Duration // the wait that it asks for; negative if it cannot be read
}{
	{"none", func(time.Time) string { return "" }, -1},
	{"seconds", func(time.Time) string { return "37" }, 37 * time.Second},
	{"date", func(now time.Time) string { return now.Add(37 * time.Second).UTC().Format(http.TimeFormat) }, 37 * time.Second},
	{"now", func(time.Time) string { return "0" }, 0},
	{"past", func(now time.Time) string { return now.Add(-time.Hour).UTC().Format(http.TimeFormat) }, 0},
	{"words", func(time.Time) string { return "soon" }, -1},
	{"negative", func(time.Time) string { return "-5" }, -1},
	{"fraction", func(time.Time) string { return "1.5" }, -1},
	{"no date", func(time.Time) string { return "Sun, 99 Nov 2026 19:25:26 GMT" }, -1},
	{"beyond 64 bits", func(time.Time) string { return "99999999999999999999" }, -1},
	{"a year", func(time.Time) string { return "31536000" }, attempt.MaxRetryAfter},
	{"overflow", func(time.Time) string { return "9223372036854775807" }, attempt.MaxRetryAfter},
	{"date in ten years", func(now time.Time) string { return now.AddDate(10, 0, 0).UTC().Format(http.TimeFormat) }, attempt.MaxRetryAfter},
}

// Run checks each row, in fake time and without a network, with a Retry-After
// of each form.
func (tt Table) Run(t *testing.T) {
	for _, row := range tt.Rows {
		name := fmt.Sprint(row.Reason, " ", row.Says.Message)
		if row.Says.Message == "" && row.Says.Code == "" {
			name = fmt.Sprintf("%s %.40q", row.Reason, row.Says.Body)
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.row(t, row) })
		})
	}
	for _, code := range tt.Codes {
		require.True(t, slices.ContainsFunc(tt.Rows, func(r Row) bool { return r.Says.Code == code }), "no row says %s", code)
	}
	t.Run("no answer", func(t *testing.T) { synctest.Test(t, tt.silence) })
}

// row plays one answer in all forms.
func (tt Table) row(t *testing.T, row Row) {
	b := tt.New(t)
	for _, form := range retryAfter {
		time.Sleep(time.Minute) // the effects of the previous answer are over
		if row.OAuth {
			b = tt.New(t) // has no access token yet
		}
		now := time.Now()
		addr, token := b.device()
		says := row.Says
		says.RetryAfter = form.value(now)
		says.Message = strings.ReplaceAll(says.Message, "TOKEN", token)
		if says.Body != nil {
			says.Body = []byte(strings.ReplaceAll(string(says.Body), "TOKEN", token))
		}
		if row.OAuth {
			b.ScriptOAuth(says)
		} else {
			b.Service.Script(token, says)
		}

		want := pushext.Verdict{Class: row.Class, Scope: max(row.Scope, row.Heeds.scope()), Reason: row.Reason, At: row.Since}
		if row.Pause > 0 {
			want.At = now.Add(row.Pause)
		}
		if row.Heeds != Nobody && form.wait >= 0 {
			want.Class, want.At = pushext.RetryAt, now.Add(form.wait)
		}
		got := b.Provider.Push(t.Context(), notification(addr))
		require.True(t, want.At.Equal(got.At), "Retry-After %s: want %v, got %v", form.name, want.At, got.At)
		got.At, want.At = time.Time{}, time.Time{}
		require.Equal(t, want, got, "Retry-After %s", form.name)
		require.Equal(t, now, time.Now(), "the verdict comes at once: waiting is the dispatcher's")
		tt.private(t, got, addr)

		if row.OAuth {
			time.Sleep(attempt.HoldRefusal)
		}
		got = b.Provider.Push(t.Context(), notification(addr))
		require.Equal(t, pushext.Delivered, got.Class, "one request, one answer; after it: %s", got.Reason)
	}
}

// silence checks the verdict on a missing answer.
func (tt Table) silence(t *testing.T) {
	b := tt.New(t)
	addr, token := b.device()
	patience := tt.Patience
	if patience == 0 {
		patience = attempt.DefaultTimeout
	}
	push := func(ctx context.Context, says emulate.Answer) (pushext.Verdict, time.Duration) {
		b.Service.Script(token, says)
		start := time.Now()
		v := b.Provider.Push(ctx, notification(addr))
		b.Service.Script(token)
		tt.private(t, v, addr)
		return v, time.Since(start)
	}
	v, took := push(t.Context(), emulate.Answer{Reset: true})
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: tt.Kind + " network"}, v)
	require.Zero(t, took)

	v, took = push(t.Context(), emulate.Answer{Hang: true})
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: tt.Kind + " timeout"}, v)
	require.Equal(t, patience, took, "a provider's own patience")

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	v, took = push(ctx, emulate.Answer{Hang: true})
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: tt.Kind + " timeout"}, v)
	require.Equal(t, 3*time.Second, took)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(2*time.Second, cancel)
	v, took = push(ctx, emulate.Answer{Hang: true})
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: tt.Kind + " cancelled"}, v)
	require.Equal(t, 2*time.Second, took)

	v, took = push(t.Context(), emulate.Answer{Delay: patience - time.Second})
	require.Equal(t, pushext.Delivered, v.Class, v.Reason)
	require.Equal(t, patience-time.Second, took)
}

// Codes returns the codes of the emulator of a type of provider.
func Codes(t *testing.T, kind string) []string {
	i, err := emulate.Start(kind, emulate.Memory)
	require.NoError(t, err)
	i.Close()
	return i.Codes
}

// private checks that a verdict contains only what is known beforehand.
func (tt Table) private(t *testing.T, v pushext.Verdict, addr pushext.Address) {
	t.Helper()
	require.True(t, strings.HasPrefix(v.Reason, tt.Kind+" "), v.Reason)
	require.LessOrEqual(t, len(v.Reason), 64)
	require.NotContains(t, v.Reason, addr.Token)
	require.NotContains(t, v.Reason, "://")
}

func notification(addr pushext.Address) pushext.Notification {
	return pushext.Notification{
		Address: addr, Body: []byte(`{"v":2,"p":"c2VhbGVk"}`), CollapseID: "abcdefgh", TTL: time.Hour,
		Urgent: true, Visible: true, ID: "0123456789abcdefghijkl",
	}
}
