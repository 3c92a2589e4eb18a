package dispatch

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/testutil/logtext"
)

// said are the lines of a log about push providers, without their time, and empties it.
func said(out *logtext.Buffer) (lines []string) {
	synctest.Wait()
	for line := range strings.Lines(out.String()) {
		if _, text, ok := strings.Cut(line, " level="); ok && strings.Contains(text, `msg="push provider`) {
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	out.Reset()
	return lines
}

// requireSaid demands one line for each pattern, in order.
func requireSaid(t *testing.T, out *logtext.Buffer, patterns ...string) {
	t.Helper()
	lines := said(out)
	require.Len(t, lines, len(patterns), "%s", strings.Join(lines, "\n"))
	for i, pattern := range patterns {
		require.Regexp(t, regexp.MustCompile("^"+pattern), lines[i])
	}
}

// An operator is told once that a push service fails, with the cause and what to do, and
// once that it works again, whoever many devices wait.
func TestOutageIsTold(t *testing.T) {
	for devices, want := range map[int][]string{
		1: {`WARN msg="push provider fails" provider=fcm cause="fcm network" failed=3 for=[1-3]s remedy="check Endpoint, name resolution`,
			`INFO msg="push provider works again" provider=fcm after=[0-9m]*[0-9]+s failed=[0-9]+$`},
		100: {`WARN msg="push provider fails" provider=fcm cause="fcm network" failed=3 for=0s remedy="check Endpoint`,
			`WARN msg="push provider is paused" provider=fcm cause="fcm network" failed=5 for=0s pause=[0-9.]+m?s remedy="check Endpoint`,
			`INFO msg="push provider works again" provider=fcm after=[0-9m]*[0-9]+s failed=[0-9]+$`},
	} {
		t.Run(fmt.Sprint(devices), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &scripted{name: "fcm"}
				r := newRig(t, Delivery{}, p)
				for i := range devices {
					r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i))
				}
				r.start()
				defer r.stop()
				ring := func() {
					for i := range devices {
						r.log.Archive(topicOf(registration.ID(i + 1)))
						synctest.Wait()
					}
				}
				ring()
				requireSaid(t, r.out)
				p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm network"})
				ring()
				time.Sleep(75 * time.Second)
				p.set(nil)
				time.Sleep(10 * time.Minute)
				requireSaid(t, r.out, want...)
			})
		})
	}
}

// What is told of a provider, and when it is.
func TestTroubleIsTold(t *testing.T) {
	const remedy = ` failed=1 for=0s pause=[0-9.ms]+ remedy="`
	for name, row := range map[string]struct {
		verdict pushext.Verdict
		after   time.Duration // of Verdict.At
		want    []string
	}{
		"credentials refused": {pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm 401"}, 0, []string{
			`WARN msg="push provider is paused" provider=fcm cause="fcm 401"` + remedy + `check that key, project`, `INFO msg="push provider works again"`}},
		"quota spent": {pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider, Reason: "fcm 429"}, 30 * time.Second, []string{
			`WARN msg="push provider is paused" provider=fcm cause="fcm 429"` + remedy + `the quota is used up`, `INFO msg="push provider works again"`}},
		"a device throttled": {pushext.Verdict{Class: pushext.RetryAt, Reason: "fcm 429"}, 30 * time.Second, nil},
		"a device refused":   {pushext.Verdict{Class: pushext.Retry, Scope: pushext.ScopeAddress, Reason: "webpush 403"}, 0, nil},
		"a message refused":  {pushext.Verdict{Class: pushext.MessageBad, Reason: "fcm 400"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &scripted{name: "fcm"}
				r := newRig(t, Delivery{}, p)
				topic := r.device(1, "fcm token")
				r.start()
				defer r.stop()
				if row.after > 0 {
					row.verdict.At = time.Now().Add(row.after)
				}
				p.always(row.verdict)
				r.log.Archive(topic)
				time.Sleep(20 * time.Second)
				p.set(nil)
				time.Sleep(10 * time.Minute)
				requireSaid(t, r.out, row.want...)
			})
		})
	}
}

// A service that comes and goes fills no log, nor does one that stays away.
func TestTroubleIsToldSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &scripted{name: "fcm"}
		r := newRig(t, Delivery{SilentAfter: -1}, p)
		for i := range 20 {
			r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i))
		}
		r.start()
		defer r.stop()
		for minute := range 6 * 60 {
			if minute%2 == 0 {
				p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
			} else {
				p.set(nil)
			}
			for i := range 20 {
				r.log.Archive(topicOf(registration.ID(i + 1)))
			}
			time.Sleep(time.Minute)
		}
		lines := said(r.out)
		require.Greater(t, len(lines), 20)
		require.LessOrEqual(t, len(lines), 3*6*6+3, "three in ten minutes")

		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "fcm 503"})
		time.Sleep(sayEvery)
		said(r.out)
		for range 6 * 60 {
			r.log.Archive(topicOf(1))
			time.Sleep(time.Minute)
		}
		require.LessOrEqual(t, len(said(r.out)), 1, "the pause")
	})
}

// Hosts that users name are always away, some of them; that nobody answers is told.
func TestHostsAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := hosted{&scripted{name: "webhook"}}
		r := newRig(t, Delivery{SilentAfter: -1}, p)
		const devices = 50
		for i := range devices {
			r.device(registration.ID(i+1), fmt.Sprintf("webhook host%d.example/%d", i%10, i))
		}
		r.start()
		defer r.stop()
		minutes := func(n int) {
			for range n {
				for i := range devices {
					r.log.Archive(topicOf(registration.ID(i + 1)))
				}
				time.Sleep(time.Minute)
			}
		}
		p.set(func(_ context.Context, n pushext.Notification) pushext.Verdict {
			if strings.HasPrefix(n.Address.Token, "host0.example/") {
				return pushext.Verdict{Class: pushext.Delivered}
			}
			return pushext.Verdict{Class: pushext.Retry, Reason: "webhook timeout"}
		})
		minutes(60)
		requireSaid(t, r.out)
		p.always(pushext.Verdict{Class: pushext.Retry, Reason: "webhook timeout"})
		minutes(60)
		requireSaid(t, r.out, `WARN msg="push provider fails" provider=webhook cause="webhook timeout" failed=[0-9]+ for=1m[0-9]+s remedy="users named the hosts`)
		p.set(nil)
		minutes(5)
		requireSaid(t, r.out, `INFO msg="push provider works again" provider=webhook`)
		require.NotContains(t, r.out.String(), "host1")
	})
}
