package emulate

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// FCMConfig configures an emulated Firebase Cloud Messaging.
type FCMConfig struct {
	Addr          string        // where to listen; "" is 127.0.0.1 at a free port
	TLS           bool          // HTTPS with HTTP/2 and a certificate authority of its own
	ProjectID     string        // "" is "emulated-project"
	TokenLifetime time.Duration // life of an OAuth access token; 0 is an hour

	Key *rsa.PrivateKey // of the service account; nil is a new one
}

// FCM emulates the FCM HTTP v1 API and Google's OAuth token endpoint, which
// exchanges a JWT signed by the service account for an access token (RFC 7523).
type FCM struct {
	*Service
	grants
	config FCMConfig
	key    *rsa.PrivateKey
	email  string
	keyID  string

	mu        sync.Mutex // guards the following fields
	access    map[string]time.Time
	exchanges int
}

// StartFCM listens and creates a service account.
func StartFCM(cfg FCMConfig) (*FCM, error) {
	if cfg.ProjectID == "" {
		cfg.ProjectID = "emulated-project"
	}
	if cfg.TokenLifetime == 0 {
		cfg.TokenLifetime = time.Hour
	}
	var err error
	if cfg.Key == nil {
		if cfg.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, fmt.Errorf("emulate: %w", err)
		}
	}
	f := &FCM{config: cfg, key: cfg.Key, keyID: text(40), email: "pusher@" + cfg.ProjectID + ".iam.gserviceaccount.com", access: make(map[string]time.Time)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.exchange)
	mux.HandleFunc("POST /v1/projects/{project}/{method}", f.send)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.refuse(w, http.StatusNotFound, "NOT_FOUND", "", "The requested URL was not found on this server.")
	})
	if f.Service, err = listen(cfg.Addr, cfg.TLS, fcmRules, vocabulary{codes: sorted(fcmErrors), text: true}, newFCMToken, mux); err != nil {
		return nil, err
	}
	f.serve()
	return f, nil
}

// ProjectID returns the emulated Firebase project.
func (f *FCM) ProjectID() string { return f.config.ProjectID }

// Endpoint returns the API's base URL for a client: for the real service,
// https://fcm.googleapis.com/v1.
func (f *FCM) Endpoint() string { return f.url + "/v1" }

// CredentialsJSON returns the service account's key file in the form that the
// Google Cloud console gives out, with the emulator's token endpoint.
func (f *FCM) CredentialsJSON() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(f.key)
	if err != nil {
		panic("emulate: internal error: " + err.Error()) // a key made by StartFCM
	}
	out, _ := json.MarshalIndent(map[string]string{
		"type":           "service_account",
		"project_id":     f.config.ProjectID,
		"private_key_id": f.keyID,
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   f.email,
		"client_id":      "100000000000000000001",
		"auth_uri":       f.url + "/auth",
		"token_uri":      f.url + "/token",
	}, "", "  ")
	return out
}

// NewAccess issues an access token without an exchange.
func (f *FCM) NewAccess() string {
	token := "ya29.c." + text(80)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for t, expiry := range f.access { // there are few at a time
		if expiry.Before(now) {
			delete(f.access, t)
		}
	}
	f.access[token] = now.Add(f.config.TokenLifetime)
	f.exchanges++
	return token
}

// RevokeAccess invalidates every access token issued so far.
func (f *FCM) RevokeAccess() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.access)
}

// Exchanges counts the access tokens issued.
func (f *FCM) Exchanges() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.exchanges
}

// exchange is the token endpoint.
func (f *FCM) exchange(w http.ResponseWriter, r *http.Request) {
	if f.grants.refuse(f.Service, w, r) {
		return
	}
	if err := f.verifyGrant(r); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": err.Error()})
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": f.NewAccess(), "token_type": "Bearer", "expires_in": int(f.config.TokenLifetime.Seconds())})
}

// verifyGrant checks a JWT-bearer grant by RFC 7523 and by Google's rules:
// RS256, issued by the account, for this endpoint, valid for at most an hour.
func (f *FCM) verifyGrant(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	if got := r.PostForm.Get("grant_type"); got != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return fmt.Errorf("Invalid grant_type: %s", got)
	}
	var claims struct {
		jwt.RegisteredClaims
		Scope string `json:"scope"`
	}
	_, err := jwt.ParseWithClaims(r.PostForm.Get("assertion"), &claims, func(t *jwt.Token) (any, error) {
		if kid, ok := t.Header["kid"]; ok && kid != f.keyID {
			return nil, fmt.Errorf("no key has the id %v", kid)
		}
		return f.key.Public(), nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(f.email), jwt.WithAudience(f.url+"/token"),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(10*time.Second))
	switch {
	case err != nil:
		return fmt.Errorf("Invalid JWT: %w", err)
	case claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > time.Hour:
		return fmt.Errorf("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe")
	}
	for scope := range strings.FieldsSeq(claims.Scope) {
		if scope == "https://www.googleapis.com/auth/"+fcmMessaging || scope == "https://www.googleapis.com/auth/cloud-platform" {
			return nil
		}
	}
	return fmt.Errorf("Invalid OAuth scope or ID token audience provided.")
}

// authorised reports whether a request carries a valid access token.
func (f *FCM) authorised(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	expiry, ok := f.access[token]
	return ok && time.Now().Before(expiry)
}

// send is projects.messages.send.
func (f *FCM) send(w http.ResponseWriter, r *http.Request) {
	raw, err := content(r)
	switch {
	case err != nil:
		f.refuse(w, http.StatusRequestEntityTooLarge, "INVALID_ARGUMENT", "", "Request payload size exceeds the limit.")
		return
	case r.PathValue("method") != "messages:send":
		f.refuse(w, http.StatusNotFound, "NOT_FOUND", "", "The requested URL was not found on this server.")
		return
	case !f.authorised(r):
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
		f.refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED", "", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
		return
	case r.PathValue("project") != f.config.ProjectID:
		f.refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "", "Permission 'cloudmessaging.messages.create' denied on resource.")
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		f.refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "", "Invalid content type.")
		return
	}
	arrived := time.Now()
	m, err := parseFCM(raw)
	if err != nil {
		f.refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "INVALID_ARGUMENT", err.Error())
		return
	}
	push := Push{
		At: arrived, Token: m.token, ID: "projects/" + f.config.ProjectID + "/messages/0:" + text(24), Body: m.object(),
		CollapseID: m.collapseKey, TTL: m.ttl, Urgent: m.high, Visible: m.visible, Header: r.Header, Raw: raw,
	}
	a := f.next(m.token)
	if a.Accept {
		f.accept(push)
	}
	f.perform(w, r, a)
	switch {
	case a.answered():
	case a.fails():
		known := fcmErrors[a.Code]
		status, text := a.Status, a.Message
		if status == 0 {
			status = known.status
		}
		if text == "" {
			text = known.text
		}
		f.refuse(w, status, known.rpc, a.Code, text)
	case !f.known(m.token):
		e := fcmErrors["UNREGISTERED"]
		f.refuse(w, e.status, e.rpc, "UNREGISTERED", e.text)
	default:
		if !a.Accept && !m.validateOnly {
			f.accept(push)
		}
		reply(w, http.StatusOK, fcmAccepted{push.ID})
	}
}

// fcmAccepted is the answer to an accepted message.
type fcmAccepted struct {
	Name string `json:"name"`
}

// fcmErrors are FCM's ErrorCode values with the status and text that accompany
// them.
var fcmErrors = map[string]struct {
	status    int
	rpc, text string
}{
	"UNSPECIFIED_ERROR":      {500, "UNKNOWN", "Unknown error."},
	"INVALID_ARGUMENT":       {400, "INVALID_ARGUMENT", "Request contains an invalid argument."},
	"UNREGISTERED":           {404, "NOT_FOUND", "Requested entity was not found."},
	"SENDER_ID_MISMATCH":     {403, "PERMISSION_DENIED", "SenderId mismatch"},
	"QUOTA_EXCEEDED":         {429, "RESOURCE_EXHAUSTED", "Quota exceeded."},
	"UNAVAILABLE":            {503, "UNAVAILABLE", "The service is currently unavailable."},
	"INTERNAL":               {500, "INTERNAL", "Internal error encountered."},
	"THIRD_PARTY_AUTH_ERROR": {401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"},
}

// refuse writes Google's error object. code is FCM's own; it may be empty.
func (f *FCM) refuse(w http.ResponseWriter, status int, rpc, code, text string) {
	e := map[string]any{"code": status, "message": text, "status": rpc}
	if code != "" {
		e["details"] = []map[string]string{{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}}
	}
	reply(w, status, map[string]any{"error": e})
}
