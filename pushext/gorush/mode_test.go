package gorush

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

// TestJudge is which configurations let an answer be believed.
func TestJudge(t *testing.T) {
	const head = "core:\n  enabled: true\n"
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string // reason; "" is believed
		class  pushext.Class
		help   string
	}{
		"sync":           {200, head + "  sync: true\nqueue:\n  engine: local\n", "", 0, ""},
		"no queues yet":  {200, head + "  sync: true\n", "", 0, ""}, // of versions that had none
		"other shapes":   {200, "core:\n  sync: true\n  port: [1]\nios: {enabled: true, max_retry: many}\nandroid: {enabled: true}\nnew: {a: b}\n", "", 0, ""},
		"json":           {200, `{"core":{"sync":true},"queue":{"engine":"local"}}`, "", 0, ""},
		"async":          {200, head + "  sync: false\nqueue:\n  engine: local\n", "gorush core.sync is off", pushext.ProviderBroken, "gorush's core.sync is false: it answers before it sends"},
		"other queue":    {200, head + "  sync: true\nqueue:\n  engine: redis\n", "gorush queue is not local", pushext.ProviderBroken, `gorush's queue.engine is "redis", with which it ignores core.sync`},
		"after its push": {200, head + "  sync: false\nqueue:\n  engine: nsq\n", "gorush queue is not local", pushext.ProviderBroken, `set queue.engine: local and core.sync: true`},
		"platform off":   {200, head + "  sync: true\nandroid:\n  enabled: false\n", "gorush platform is off", pushext.ProviderBroken, "gorush's android.enabled is false"},
		"no sync":        {200, head + "queue:\n  engine: local\n", "gorush config unreadable", pushext.ProviderBroken, "no core.sync"},
		"sync a word":    {200, "core:\n  sync: [true]\n", "gorush core.sync is off", pushext.ProviderBroken, "core.sync"},
		"a page":         {200, "<html>log in</html>", "gorush config unreadable", pushext.ProviderBroken, "check ConfigURL"},
		"no YAML":        {200, "core: [", "gorush config unreadable", pushext.ProviderBroken, "check ConfigURL"},
		"nothing":        {200, "", "gorush config unreadable", pushext.ProviderBroken, "check ConfigURL"},
		"not there":      {404, "404 page not found", "gorush config 404", pushext.ProviderBroken, "let this server GET it, and name it by ConfigURL"},
		"not for us":     {403, "", "gorush config 403", pushext.ProviderBroken, "nothing else tells whether it is in sync mode"},
		"redirect":       {302, "", "gorush config 302", pushext.ProviderBroken, "config 302"},
		"down":           {502, "", "gorush config 502", pushext.Retry, "cannot be asked for (config 502)"},
		"strange":        {799, "", "gorush config other", pushext.Retry, "config other"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMode(nil, "", Android, time.Second)
			r := m.judge(attempt.Answer{Status: tt.status, Body: []byte(tt.body)}, now)
			require.Equal(t, tt.want, r.refuse.Reason)
			require.Equal(t, tt.class, r.refuse.Class)
			if tt.help == "" {
				require.NoError(t, r.help)
			} else {
				require.ErrorContains(t, r.help, tt.help)
			}
		})
	}
	busy := newMode(nil, "", Android, time.Second).judge(attempt.Answer{Status: 503, Header: http.Header{"Retry-After": {"7"}}}, now)
	require.Equal(t, pushext.Verdict{Class: pushext.RetryAt, Scope: pushext.ScopeProvider, At: now.Add(7 * time.Second), Reason: "gorush config 503"}, busy.refuse)
}

// TestRepaired is what gorush's own repetitions leave in its answers: a line for each
// try that failed, and none for one that did not.
func TestRepaired(t *testing.T) {
	const dead, later, fcmDead, fcmLater = "Unregistered", "ServiceUnavailable", "Requested entity was not found.", "The service is currently unavailable."
	for _, tt := range []struct {
		platform string
		retries  int
		lines    []string
		want     pushext.Class
	}{
		{IOS, 0, []string{later}, pushext.Retry},
		{IOS, 2, []string{later}, pushext.Delivered},
		{IOS, 2, []string{later, later}, pushext.Delivered},
		{IOS, 2, []string{later, later, later}, pushext.Retry},
		{IOS, 2, []string{dead}, pushext.TokenDead}, // not repeated
		{IOS, 2, []string{later, dead}, pushext.TokenDead},
		{IOS, 2, []string{"dial tcp: refused"}, pushext.Retry}, // not repeated
		{Android, 0, []string{fcmDead}, pushext.TokenDead},
		{Android, 1, []string{fcmDead, fcmDead}, pushext.TokenDead}, // repeated, whatever it was
		{Android, 1, []string{fcmLater}, pushext.Delivered},
		{Android, 1, []string{fcmLater, fcmLater}, pushext.Retry},
		{Android, 1, []string{fcmLater, fcmDead}, pushext.TokenDead},
	} {
		logs := ""
		for i, text := range tt.lines {
			if i > 0 {
				logs += ","
			}
			logs += fmt.Sprintf(`{"type":"failed-push","error":%q}`, text)
		}
		body := fmt.Sprintf(`{"counts":1,"logs":[%s],"success":"ok"}`, logs)
		v := verdict(attempt.Answer{Status: 200, Body: []byte(body)}, tt.platform, reading{retries: tt.retries}, time.Now())
		require.Equal(t, tt.want, v.Class, "%s, max_retry %d, %v", tt.platform, tt.retries, tt.lines)
	}
}
