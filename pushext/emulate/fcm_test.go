package emulate_test

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext/emulate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client has its own connections, closed with the test.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func startFCM(t *testing.T, cfg emulate.FCMConfig) (*emulate.FCM, *http.Client) {
	e, err := emulate.StartFCM(cfg)
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e, client(t)
}

// TestFCMSchema posts what FCM refuses, and what it takes.
func TestFCMSchema(t *testing.T) {
	e, c := startFCM(t, emulate.FCMConfig{})
	token, access := e.NewToken(), e.NewAccess()
	tests := []struct{ name, body, want string }{
		{"minimal", `{"message":{"token":%q}}`, ""},
		{"camel case", `{"validateOnly":true,"message":{"token":%q,"android":{"collapseKey":"a","ttl":"3.5s","priority":"HIGH"}}}`, ""},
		{"null", `{"message":{"token":%q,"notification":null}}`, ""},
		{"other platforms", `{"message":{"token":%q,"apns":{"headers":{"a":"b"},"payload":{"aps":{}}},"webpush":{"data":{"a":"b"}},"fcm_options":{"analytics_label":"x"}}}`, ""},
		{"not JSON", `{"message":{"token":%q}`, "Invalid JSON payload"},
		{"two values", `{"message":{"token":%q}}{}`, "Invalid JSON payload"},
		{"list", `[{"message":{"token":%q}}]`, "object is expected"},
		{"unknown at root", `{"message":{"token":%q},"to":"x"}`, "Unknown name"},
		{"unknown in message", `{"message":{"token":%q,"priority":"high"}}`, "Unknown name"},
		{"unknown in android", `{"message":{"token":%q,"android":{"collapse_id":"x"}}}`, "Unknown name"},
		{"legacy", `{"to":%q,"data":{}}`, "Unknown name"},
		{"number in data", `{"message":{"token":%q,"data":{"v":2}}}`, "TYPE_STRING"},
		{"object in data", `{"message":{"token":%q,"data":{"v":{}}}}`, "TYPE_STRING"},
		{"from", `{"message":{"token":%q,"data":{"from":"x"}}}`, "Invalid data payload key: from"},
		{"gcm", `{"message":{"token":%q,"data":{"gcm.x":"x"}}}`, "Invalid data payload key"},
		{"google", `{"message":{"token":%q,"data":{"google.x":"x"}}}`, "Invalid data payload key"},
		{"too big", `{"message":{"token":%q,"data":{"p":"` + strings.Repeat("x", 4096) + `"}}}`, "too big"},
		{"just fits", `{"message":{"token":%q,"data":{"p":"` + strings.Repeat("x", 4095) + `"}}}`, ""},
		{"priority", `{"message":{"token":%q,"android":{"priority":"urgent"}}}`, "TYPE_ENUM"},
		{"ttl number", `{"message":{"token":%q,"android":{"ttl":60}}}`, "Duration"},
		{"ttl minutes", `{"message":{"token":%q,"android":{"ttl":"1m"}}}`, "Duration"},
		{"ttl negative", `{"message":{"token":%q,"android":{"ttl":"-1s"}}}`, "Duration"},
		{"ttl too long", `{"message":{"token":%q,"android":{"ttl":"2419201s"}}}`, "TTL"},
		{"no token", `{"message":{"name":%q}}`, "Recipient of the message is not set"},
		{"topic", `{"message":{"token":%q,"topic":"t"}}`, "must be a token"},
		{"no message", `{"validate_only":true}`, "message is missing"},
		{"bad token", `{"message":{"token":"x%s"}}`, "not a valid FCM registration token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.body
			if strings.Contains(body, "%") {
				body = fmt.Sprintf(body, token)
			}
			req, err := http.NewRequest(http.MethodPost, e.Endpoint()+"/projects/"+e.ProjectID()+"/messages:send", strings.NewReader(body))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+access)
			resp, err := c.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			if tt.want == "" {
				require.Equal(t, 200, resp.StatusCode, string(answer))
				require.Contains(t, string(answer), "projects/"+e.ProjectID()+"/messages/")
				return
			}
			require.Equal(t, 400, resp.StatusCode)
			require.Contains(t, string(answer), tt.want)
			require.Contains(t, string(answer), `"errorCode":"INVALID_ARGUMENT"`)
		})
	}
	require.Equal(t, 4, e.Accepted(), "validate_only delivers nothing")
}

// TestFCMGrant tries grants that Google refuses.
func TestFCMGrant(t *testing.T) {
	e, c := startFCM(t, emulate.FCMConfig{})
	other, _ := startFCM(t, emulate.FCMConfig{})
	var account struct {
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		ClientEmail  string `json:"client_email"`
		TokenURI     string `json:"token_uri"`
	}
	key := func(e *emulate.FCM) *rsa.PrivateKey {
		require.NoError(t, json.Unmarshal(e.CredentialsJSON(), &account))
		k, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(account.PrivateKey))
		require.NoError(t, err)
		return k
	}
	foreign := key(other)
	own := key(e)
	now := time.Now()
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"iss": account.ClientEmail, "aud": account.TokenURI, "scope": "https://www.googleapis.com/auth/firebase.messaging",
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		for k, v := range change {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		return c
	}
	tests := []struct {
		name   string
		claims jwt.MapClaims
		method jwt.SigningMethod
		key    any
		grant  string
		status int
	}{
		{"good", claims(nil), jwt.SigningMethodRS256, own, "", 200},
		{"foreign key", claims(nil), jwt.SigningMethodRS256, foreign, "", 400},
		{"RS512", claims(nil), jwt.SigningMethodRS512, own, "", 400},
		{"unsigned", claims(nil), jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", 400},
		{"issuer", claims(jwt.MapClaims{"iss": "x@y"}), jwt.SigningMethodRS256, own, "", 400},
		{"audience", claims(jwt.MapClaims{"aud": "https://oauth2.googleapis.com/token"}), jwt.SigningMethodRS256, own, "", 400},
		{"scope", claims(jwt.MapClaims{"scope": "https://www.googleapis.com/auth/drive"}), jwt.SigningMethodRS256, own, "", 400},
		{"two hours", claims(jwt.MapClaims{"exp": now.Add(2 * time.Hour).Unix()}), jwt.SigningMethodRS256, own, "", 400},
		{"expired", claims(jwt.MapClaims{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}), jwt.SigningMethodRS256, own, "", 400},
		{"future", claims(jwt.MapClaims{"iat": now.Add(10 * time.Minute).Unix()}), jwt.SigningMethodRS256, own, "", 400},
		{"no exp", claims(jwt.MapClaims{"exp": nil}), jwt.SigningMethodRS256, own, "", 400},
		{"no iat", claims(jwt.MapClaims{"iat": nil}), jwt.SigningMethodRS256, own, "", 400},
		{"grant type", claims(nil), jwt.SigningMethodRS256, own, "client_credentials", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assertion, err := jwt.NewWithClaims(tt.method, tt.claims).SignedString(tt.key)
			require.NoError(t, err)
			if tt.grant == "" {
				tt.grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
			}
			resp, err := c.PostForm(account.TokenURI, url.Values{"grant_type": {tt.grant}, "assertion": {assertion}})
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, tt.status, resp.StatusCode)
		})
	}
	require.Equal(t, 1, e.Exchanges())
}

func TestFCMAccessExpires(t *testing.T) {
	e, c := startFCM(t, emulate.FCMConfig{TokenLifetime: time.Nanosecond})
	req, err := http.NewRequest(http.MethodPost, e.Endpoint()+"/projects/"+e.ProjectID()+"/messages:send", strings.NewReader("{}"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+e.NewAccess())
	resp, err := c.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

// TestControl plays device from another process.
func TestControl(t *testing.T) {
	e, c := startFCM(t, emulate.FCMConfig{})
	resp, err := c.Post(e.URL()+emulate.ControlPath+"devices", "", nil)
	require.NoError(t, err)
	var device struct{ Token string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&device))
	resp.Body.Close()

	send := func() int {
		body := fmt.Sprintf(`{"message":{"token":%q,"data":{"v":"2","p":"abc"}}}`, device.Token)
		req, err := http.NewRequest(http.MethodPost, e.Endpoint()+"/projects/"+e.ProjectID()+"/messages:send", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+e.NewAccess())
		resp, err := c.Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	stream, err := c.Get(e.URL() + emulate.ControlPath + "pushes?token=" + url.QueryEscape(device.Token))
	require.NoError(t, err)
	defer stream.Body.Close()
	require.Equal(t, 200, send())
	line, err := bufio.NewReader(stream.Body).ReadBytes('\n')
	require.NoError(t, err)
	var p emulate.Push
	require.NoError(t, json.Unmarshal(line, &p))
	require.JSONEq(t, `{"v":2,"p":"abc"}`, string(p.Body))
	require.Empty(t, p.Header.Get("Authorization"))

	resp, err = c.Post(e.URL()+emulate.ControlPath+"script?token="+url.QueryEscape(device.Token), "application/json", bytes.NewReader([]byte(`[{"code":"UNAVAILABLE","times":2}]`)))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 503, send())
	require.Equal(t, 503, send())
	require.Equal(t, 200, send())

	req, err := http.NewRequest(http.MethodDelete, e.URL()+emulate.ControlPath+"devices?token="+url.QueryEscape(device.Token), nil)
	require.NoError(t, err)
	resp, err = c.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 404, send())
}

// TestSlowDevice loses its oldest pushes, and nobody waits for it.
func TestSlowDevice(t *testing.T) {
	e, c := startFCM(t, emulate.FCMConfig{})
	token, access := e.NewToken(), e.NewAccess()
	for i := range 200 {
		body := fmt.Sprintf(`{"message":{"token":%q,"data":{"n":"%d"}}}`, token, i)
		req, err := http.NewRequest(http.MethodPost, e.Endpoint()+"/projects/"+e.ProjectID()+"/messages:send", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+access)
		resp, err := c.Do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	require.Equal(t, 200, e.Accepted())
	require.JSONEq(t, `{"n":72}`, string((<-e.Pushes(token)).Body))
}

// TestCloseReleasesHangingRequests would hang if Close left requests behind.
func TestCloseReleasesHangingRequests(t *testing.T) {
	e, err := emulate.StartFCM(emulate.FCMConfig{TLS: true})
	require.NoError(t, err)
	token := e.NewToken()
	e.Script("", emulate.Answer{Hang: true, Times: -1})
	transport := &http.Transport{TLSClientConfig: e.ClientTLS(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	done := make(chan error)
	go func() {
		req, _ := http.NewRequest(http.MethodPost, e.Endpoint()+"/projects/"+e.ProjectID()+"/messages:send", strings.NewReader(fmt.Sprintf(`{"message":{"token":%q}}`, token)))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+e.NewAccess())
		_, err := transport.RoundTrip(req)
		done <- err
	}()
	e.Close()
	require.Error(t, <-done)
}
