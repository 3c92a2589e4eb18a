package gorush_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/gorush"
	"whisperpush/pushext/providertest"
	"whisperpush/testutil/emulatetest"
	"whisperpush/testutil/genuinegorush"
)

// platforms are what a genuine gorush pushes to.
type platforms struct {
	fcm  *emulate.FCM
	apns *emulate.APNS
}

func startPlatforms(t *testing.T) platforms {
	t.Helper()
	fcm, err := emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(fcm.Close)
	apns, err := emulate.StartAPNS(emulate.APNSConfig{Topic: "org.example.app"})
	require.NoError(t, err)
	t.Cleanup(apns.Close)
	return platforms{fcm, apns}
}

func (p platforms) service(platform string) *emulate.Service {
	if platform == gorush.IOS {
		return p.apns.Service
	}
	return p.fcm.Service
}

// genuine starts gorush before the platforms.
func (p platforms) genuine(t *testing.T, o genuinegorush.Options) *genuinegorush.Server {
	t.Helper()
	o.FCM, o.APNS = p.fcm, p.apns
	return genuinegorush.Run(t, o)
}

func through(t *testing.T, g *genuinegorush.Server, platform string) *gorush.Provider {
	t.Helper()
	cfg := gorush.Config{Endpoint: g.URL, Platform: platform, HTTPClient: attempt.Client(attempt.Transport(nil, nil))}
	t.Cleanup(cfg.HTTPClient.CloseIdleConnections)
	if platform == gorush.IOS {
		cfg.Topic = "org.example.app"
	}
	p, err := gorush.New(cfg)
	require.NoError(t, err)
	return p
}

// TestGenuineConformance runs the suite of all providers through gorush's own router
// and clients to strict platforms.
func TestGenuineConformance(t *testing.T) {
	behind := startPlatforms(t)
	g := behind.genuine(t, genuinegorush.Options{Sync: true})
	for platform, h := range map[string]providertest.Harness{
		gorush.Android: {
			// Of each of these Google's library makes five tries over 7 s, within one answer of gorush's.
			Lacks: []providertest.Fault{providertest.Unavailable, providertest.Reset,
				// It tells neither Retry-After nor which refusals are the sender's.
				providertest.Throttled, providertest.Refused, providertest.Malformed},
		},
		gorush.IOS: {
			Lacks: []providertest.Fault{providertest.Throttled}, // the Retry-After is not passed on
			Spellings: func(addr pushext.Address) map[string]pushext.Address {
				return map[string]pushext.Address{"capitals": {Token: strings.ToUpper(addr.Token)}}
			},
		},
	} {
		service := behind.service(platform)
		answers := map[providertest.Fault]emulate.Answer{
			providertest.Gone: {Code: "UNREGISTERED"}, providertest.Garbage: {Status: 200, Body: []byte("<html>")},
		}
		if platform == gorush.IOS {
			answers = map[providertest.Fault]emulate.Answer{
				providertest.Gone: {Code: "Unregistered"}, providertest.Garbage: {Status: 599, Body: []byte("<html>")},
				providertest.Unavailable: {Code: "ServiceUnavailable"}, providertest.Malformed: {Code: "BadCollapseId"},
				providertest.Refused: {Code: "InvalidProviderToken"},
			}
		}
		h.New = func(t *testing.T) (pushext.Provider, providertest.Backend) {
			return through(t, g, platform), &emulatetest.Backend{
				Service: service, Answers: answers,
				NewDevice: func() (pushext.Address, string) {
					token := service.NewToken()
					return pushext.Address{Token: token}, token
				},
			}
		}
		t.Run(platform, func(t *testing.T) { providertest.Run(t, h) })
	}
}

// TestGenuineModes: in sync mode one push is one push, and a dead token is known; in any
// other mode nothing is sent, as nothing would be known.
func TestGenuineModes(t *testing.T) {
	for name, tt := range map[string]struct {
		options      genuinegorush.Options
		reason, help string // of a mode that is refused
	}{
		"sync":        {genuinegorush.Options{Sync: true}, "", ""},
		"async":       {genuinegorush.Options{}, "gorush core.sync is off", "gorush's core.sync is false: it answers before it sends"},
		"other queue": {genuinegorush.Options{Sync: true, Queue: "redis"}, "gorush queue is not local", `gorush's queue.engine is "redis", with which it ignores core.sync`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind := startPlatforms(t)
			g := behind.genuine(t, tt.options)
			for _, platform := range []string{gorush.Android, gorush.IOS} {
				p, service := through(t, g, platform), behind.service(platform)
				token, dead := service.NewToken(), service.NewToken()
				service.Unregister(dead)
				v, gone := p.Push(t.Context(), notification(token)), p.Push(t.Context(), notification(dead))
				if tt.reason != "" {
					want := pushext.Verdict{Class: pushext.ProviderBroken, Reason: tt.reason}
					require.Equal(t, want, v, platform)
					require.Equal(t, want, gone, platform)
					require.Zero(t, service.Accepted(), "nothing is sent")
					require.ErrorContains(t, p.Examine(t.Context()), tt.help)
					continue
				}
				require.NoError(t, p.Examine(t.Context()))
				require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "gorush 200"}, v, platform)
				require.Equal(t, pushext.TokenDead, gone.Class, "%s: %s", platform, gone.Reason)
				require.Equal(t, 1, service.Accepted(), "one push")
			}
		})
	}
}

// TestGenuineWords: what the platforms say comes through gorush as this provider expects.
func TestGenuineWords(t *testing.T) {
	behind := startPlatforms(t)
	g := behind.genuine(t, genuinegorush.Options{Sync: true})
	for _, tt := range []struct {
		platform string
		says     emulate.Answer
		want     pushext.Verdict
	}{
		{gorush.Android, emulate.Answer{Code: "INVALID_ARGUMENT", Message: "The registration token is not a valid FCM registration token"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush invalid token"}},
		{gorush.Android, emulate.Answer{Code: "UNREGISTERED"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush not found"}},
		{gorush.Android, emulate.Answer{Code: "UNREGISTERED", Message: "NotRegistered"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush NotRegistered"}},
		{gorush.Android, emulate.Answer{Code: "SENDER_ID_MISMATCH"}, pushext.Verdict{Class: pushext.MessageBad, Reason: "gorush sender mismatch"}},
		{gorush.Android, emulate.Answer{Code: "QUOTA_EXCEEDED"}, pushext.Verdict{Class: pushext.Retry, Reason: "gorush quota"}},
		{gorush.Android, emulate.Answer{Code: "THIRD_PARTY_AUTH_ERROR"}, pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}},
		{gorush.Android, emulate.Answer{Status: 404, Body: []byte("<html>")}, pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}},
		{gorush.IOS, emulate.Answer{Code: "BadDeviceToken"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush BadDeviceToken"}},
		{gorush.IOS, emulate.Answer{Code: "Unregistered"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush Unregistered"}},
		{gorush.IOS, emulate.Answer{Code: "ExpiredToken"}, pushext.Verdict{Class: pushext.TokenDead, Reason: "gorush ExpiredToken"}},
		{gorush.IOS, emulate.Answer{Code: "TopicDisallowed"}, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "gorush TopicDisallowed"}},
		{gorush.IOS, emulate.Answer{Code: "ExpiredProviderToken"}, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "gorush ExpiredProviderToken"}},
		{gorush.IOS, emulate.Answer{Code: "TooManyRequests"}, pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}},
		{gorush.IOS, emulate.Answer{Status: 410, Body: []byte("<html>")}, pushext.Verdict{Class: pushext.Retry, Reason: "gorush failed-push"}},
	} {
		service := behind.service(tt.platform)
		token := service.NewToken()
		service.Script(token, tt.says)
		require.Equal(t, tt.want, through(t, g, tt.platform).Push(t.Context(), notification(token)), "%s %+v", tt.platform, tt.says)
	}
}

// TestGenuineRetries: what gorush itself has repaired is delivered, and once.
func TestGenuineRetries(t *testing.T) {
	behind := startPlatforms(t)
	g := behind.genuine(t, genuinegorush.Options{Sync: true, MaxRetry: 2})
	for platform, code := range map[string]string{gorush.Android: "QUOTA_EXCEEDED", gorush.IOS: "ServiceUnavailable"} {
		p, service := through(t, g, platform), behind.service(platform)
		for failures, want := range []pushext.Class{pushext.Delivered, pushext.Delivered, pushext.Delivered, pushext.Retry} {
			token := service.NewToken()
			if failures > 0 {
				service.Script(token, emulate.Answer{Code: code, Times: failures})
			}
			before := service.Accepted()
			v := p.Push(t.Context(), notification(token))
			require.Equal(t, want, v.Class, "%s after %d failures: %s", platform, failures, v.Reason)
			accepted := 1
			if want != pushext.Delivered {
				accepted = 0
			}
			require.Equal(t, accepted, service.Accepted()-before)
		}
		dead := service.NewToken()
		service.Unregister(dead)
		require.Equal(t, pushext.TokenDead, p.Push(t.Context(), notification(dead)).Class, platform)
	}
}

// TestGenuineIsAway: without gorush there is no answer, and with it there is one again.
func TestGenuineIsAway(t *testing.T) {
	behind := startPlatforms(t)
	g := behind.genuine(t, genuinegorush.Options{Sync: true})
	p := through(t, g, gorush.Android)
	n := notification(behind.fcm.NewToken())
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class)
	g.Stop()
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "gorush network"}, p.Push(t.Context(), n))
	require.ErrorContains(t, p.Examine(t.Context()), "gorush's configuration cannot be asked for (gorush network): check Endpoint, and whether gorush runs")
}
