package fcm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// accountKey is one for all tests, as making it takes long.
var accountKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// start runs an emulator and a provider for it.
func start(t testing.TB, cfg emulate.FCMConfig) (*emulate.FCM, *fcm.Provider) {
	if cfg.Key == nil {
		key, err := accountKey()
		require.NoError(t, err)
		cfg.Key = key
	}
	e, err := emulate.StartFCM(cfg)
	require.NoError(t, err)
	client := attempt.Client(attempt.Transport(e.ClientTLS(), nil))
	t.Cleanup(func() {
		client.CloseIdleConnections()
		e.Close()
	})
	p, err := fcm.New(fcm.Config{Endpoint: e.Endpoint(), CredentialsJSON: e.CredentialsJSON(), HTTPClient: client})
	require.NoError(t, err)
	return e, p
}

func notification(token string) pushext.Notification {
	return pushext.Notification{
		Address:    pushext.Address{Token: token},
		Body:       []byte(`{"v":2,"p":"c2VhbGVk"}`),
		CollapseID: "abcdefghijklmnop",
		TTL:        90 * time.Second,
		Urgent:     true,
		ID:         "id-1",
	}
}

func TestPush(t *testing.T) {
	for name, cfg := range map[string]emulate.FCMConfig{"http": {}, "h2": {TLS: true}} {
		t.Run(name, func(t *testing.T) {
			e, p := start(t, cfg)
			token := e.NewToken()
			require.NoError(t, p.Check(pushext.Address{Token: token}))
			require.Equal(t, pushext.Verdict{Class: pushext.Delivered, Reason: "fcm 200"}, p.Push(t.Context(), notification(token)))
			got := <-e.Pushes(token)
			require.JSONEq(t, `{"v":2,"p":"c2VhbGVk"}`, string(got.Body))
			require.Equal(t, "abcdefghijklmnop", got.CollapseID)
			require.Equal(t, 90*time.Second, got.TTL)
			require.True(t, got.Urgent)
			require.False(t, got.Visible, "data-only")
			require.JSONEq(t, fmt.Sprintf(`{"message":{"token":%q,"data":{"v":"2","p":"c2VhbGVk"},
				"android":{"collapse_key":"abcdefghijklmnop","priority":"high","ttl":"90s"}}}`, token), string(got.Raw))

			unreplaced := notification(token)
			unreplaced.Unreplaced = true
			require.Equal(t, pushext.Delivered, p.Push(t.Context(), unreplaced).Class)
			require.Empty(t, (<-e.Pushes(token)).CollapseID, "not collapsible, as nothing waits")

			quiet := notification(token)
			quiet.Urgent, quiet.TTL, quiet.Visible = false, 0, true
			quiet.Body = []byte(`{"v":2,"h":["0x01","0x02"],"s":18446744073709551615,"t":"a\"\u00e9\n"}`)
			require.Equal(t, pushext.Delivered, p.Push(t.Context(), quiet).Class)
			got = <-e.Pushes(token)
			require.False(t, got.Urgent)
			require.Zero(t, got.TTL)
			require.Equal(t, `{"h":["0x01","0x02"],"s":18446744073709551615,"t":"a\"é\n","v":2}`, string(got.Body))
			require.Equal(t, 1, e.Exchanges())
		})
	}
}

func TestPushObeysItsContext(t *testing.T) {
	e, p := start(t, emulate.FCMConfig{})
	token := e.NewToken()
	e.Script(token, emulate.Answer{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "fcm timeout"}, p.Push(ctx, notification(token)))
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	require.Equal(t, pushext.Verdict{Class: pushext.Retry, Reason: "fcm cancelled"}, p.Push(ctx, notification(token)))
}

func TestPushRefusesWhatFCMWould(t *testing.T) {
	e, p := start(t, emulate.FCMConfig{})
	token := e.NewToken()
	for name, body := range map[string]string{"not JSON": "x", "list": "[1]", "empty": "", "null": "null", "from": `{"from":"x"}`, "google": `{"google.x":"1"}`, "gcm": `{"gcm":"1"}`} {
		n := notification(token)
		n.Body = []byte(body)
		require.Equal(t, pushext.MessageBad, p.Push(t.Context(), n).Class, name)
	}
	n := notification(token)
	n.Body = []byte(`{"p":"` + strings.Repeat("x", 4096) + `"}`)
	require.Equal(t, pushext.Verdict{Class: pushext.MessageBad, Reason: "fcm 400 INVALID_ARGUMENT"}, p.Push(t.Context(), n))
	n = notification(token)
	n.TTL = 365 * 24 * time.Hour
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), n).Class, "a long TTL is cut to FCM's")
	require.Equal(t, fcm.MaxTTL, (<-e.Pushes(token)).TTL)

	e.Unregister(token)
	require.Equal(t, pushext.TokenDead, p.Push(t.Context(), notification(token)).Class)
	require.Equal(t, pushext.Verdict{Class: pushext.TokenDead, Reason: "fcm 400 INVALID_ARGUMENT token"}, p.Push(t.Context(), notification("garbage")))
}

func TestRevokedAccessCostsNoPush(t *testing.T) {
	e, p := start(t, emulate.FCMConfig{})
	token := e.NewToken()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class)
	e.RevokeAccess()
	require.Equal(t, pushext.Delivered, p.Push(t.Context(), notification(token)).Class)
	require.Equal(t, 2, e.Exchanges())
	e.RevokeAccess()
	e.ScriptOAuth(emulate.Answer{Code: "invalid_grant"})
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm oauth 400"}, p.Push(t.Context(), notification(token)))
}

func TestWrongAccountOrProject(t *testing.T) {
	e, _ := start(t, emulate.FCMConfig{})
	foreign, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	other, _ := start(t, emulate.FCMConfig{Key: foreign})
	client := attempt.Client(attempt.Transport(nil, nil))
	defer client.CloseIdleConnections()
	p, err := fcm.New(fcm.Config{Endpoint: e.URL(), CredentialsJSON: other.CredentialsJSON(), TokenURL: e.URL() + "/token", HTTPClient: client})
	require.NoError(t, err)
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm oauth 400"}, p.Push(t.Context(), notification(e.NewToken())))
	p, err = fcm.New(fcm.Config{Endpoint: e.URL(), CredentialsJSON: e.CredentialsJSON(), ProjectID: "another", HTTPClient: client})
	require.NoError(t, err)
	require.Equal(t, pushext.Verdict{Class: pushext.ProviderBroken, Reason: "fcm 403"}, p.Push(t.Context(), notification(e.NewToken())))
}

func TestCheck(t *testing.T) {
	_, p := start(t, emulate.FCMConfig{})
	for name, addr := range map[string]pushext.Address{
		"is empty":        {},
		"more than 1024":  {Token: strings.Repeat("a", fcm.MaxToken+1)},
		"characters":      {Token: "https://victim.example/"},
		"other than lett": {Token: "a b"},
		"has no keys":     {Token: "a", Keys: [][]byte{{1}}},
	} {
		require.ErrorContains(t, p.Check(addr), name)
	}
	require.NoError(t, p.Check(pushext.Address{Token: "dGhpcyBpcyBhbiBpZA"}), "an installation id")
}

func TestNewExplainsItself(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	e, _ := start(t, emulate.FCMConfig{})
	var good map[string]string
	require.NoError(t, json.Unmarshal(e.CredentialsJSON(), &good))
	with := func(key, value string) []byte {
		changed := make(map[string]string)
		for k, v := range good {
			changed[k] = v
		}
		changed[key] = value
		raw, _ := json.Marshal(changed)
		return raw
	}
	tests := map[string]struct {
		cfg  fcm.Config
		want string
	}{
		"nothing":              {fcm.Config{}, "push provider fcm: CredentialsFile is missing: name the service account's JSON key file"},
		"missing file":         {fcm.Config{CredentialsFile: filepath.Join(dir, "none.json")}, `none.json", and there is none: name the service account's JSON key file`},
		"directory":            {fcm.Config{CredentialsFile: dir}, "which is a directory: name the service account's JSON key file"},
		"not JSON":             {fcm.Config{CredentialsFile: write("a", "hello")}, "is not JSON: download the service account's key again"},
		"user key":             {fcm.Config{CredentialsJSON: with("type", "authorized_user")}, "is not a service account's key"},
		"no email":             {fcm.Config{CredentialsJSON: with("client_email", "")}, "is not a service account's key"},
		"no PEM":               {fcm.Config{CredentialsJSON: with("private_key", "abc")}, "the private_key of CredentialsJSON is unreadable: it is not PEM"},
		"no project":           {fcm.Config{CredentialsJSON: with("project_id", "")}, `ProjectID "" is not a Firebase project id`},
		"bad endpoint":         {fcm.Config{CredentialsJSON: e.CredentialsJSON(), Endpoint: "fcm.googleapis.com"}, `Endpoint "fcm.googleapis.com" is not a URL: give one such as https://fcm.googleapis.com/v1`},
		"app's file":           {fcm.Config{CredentialsFile: write("g", `{"project_info":{"project_id":"x"},"client":[]}`)}, `g" is the app's google-services.json`},
		"token without scheme": {fcm.Config{CredentialsFile: write("s", string(with("token_uri", "oauth2.googleapis.com/token")))}, `s" "oauth2.googleapis.com/token" is not a URL`},
		"token with blank":     {fcm.Config{CredentialsJSON: with("token_uri", " https://oauth2.googleapis.com/token")}, `the token_uri of CredentialsJSON " https://oauth2.googleapis.com/token" has blanks`},
		"no token_uri":         {fcm.Config{CredentialsJSON: with("token_uri", "")}, "the token_uri of CredentialsJSON is missing: give a URL such as https://oauth2.googleapis.com/token"},
		"token URL":            {fcm.Config{CredentialsJSON: e.CredentialsJSON(), TokenURL: "oauth"}, `TokenURL "oauth" is not a URL`},
		"instance name":        {fcm.Config{Name: "fcm-eu"}, "push provider fcm-eu:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := fcm.New(tt.cfg)
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "PRIVATE KEY")
		})
	}
	for what, cfg := range map[string]fcm.Config{
		"file":           {CredentialsFile: write("good", string(e.CredentialsJSON()))},
		"marked file":    {CredentialsFile: write("marked", "\ufeff"+string(e.CredentialsJSON()))},
		"marked content": {CredentialsJSON: append([]byte("\ufeff"), e.CredentialsJSON()...)},
		"own token URL":  {CredentialsJSON: with("token_uri", ""), TokenURL: "https://oauth2.googleapis.com/token"},
	} {
		_, err := fcm.New(cfg)
		require.NoError(t, err, what)
	}
}

// BenchmarkPush compares the provider with the shortest loop that posts the
// same bytes by the same client: the goal is at least 0.8 of its pushes a second.
func BenchmarkPush(b *testing.B) {
	for _, cfg := range []emulate.FCMConfig{{}, {TLS: true}} {
		e, p := start(b, cfg)
		token := e.NewToken()
		n := notification(token)
		n.Body = []byte(`{"v":2,"p":"` + strings.Repeat("A", 1400) + `"}`)
		require.Equal(b, pushext.Delivered, p.Push(b.Context(), n).Class)
		sample := <-e.Pushes(token)
		transport := "transport=http1"
		if cfg.TLS {
			transport = "transport=h2"
		}
		rate := func(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s") }
		b.Run("fcm/"+transport, func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if v := p.Push(b.Context(), n); v.Class != pushext.Delivered {
						b.Error(v)
						return
					}
				}
			})
			rate(b)
		})
		client := attempt.Client(attempt.Transport(e.ClientTLS(), nil))
		b.Run("bare/"+transport, func(b *testing.B) {
			b.SetParallelism(16)
			bearer := "Bearer " + e.NewAccess()
			url := e.Endpoint() + "/projects/" + e.ProjectID() + "/messages:send"
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest(http.MethodPost, url, bytes.NewReader(sample.Raw))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", bearer)
					resp, err := client.Do(req)
					if err != nil {
						b.Error(err)
						return
					}
					buf := make([]byte, 512)
					for err == nil {
						_, err = resp.Body.Read(buf)
					}
					resp.Body.Close()
					if resp.StatusCode != 200 {
						b.Error(resp.Status)
						return
					}
				}
			})
			rate(b)
		})
		client.CloseIdleConnections()
	}
}
