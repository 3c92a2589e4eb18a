package emulate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// APNSConfig configures an emulated Apple Push Notification service.
type APNSConfig struct {
	Addr  string // where to listen; "" is 127.0.0.1 at a free port
	Topic string // the app's bundle id; "" is "org.example.app"
}

// APNS emulates the APNs provider API for one app: HTTP/2 over TLS only, and ES256
// provider tokens with Apple's bounds on their age.
type APNS struct {
	*Service
	topic         string
	key           *ecdsa.PrivateKey
	keyID, teamID string

	mu      sync.Mutex // guards the following field
	renewed map[string]provider
}

// provider is the last provider token seen on one connection.
type provider struct {
	token string
	since time.Time
}

// StartAPNS listens and creates an authentication key.
func StartAPNS(cfg APNSConfig) (*APNS, error) {
	if cfg.Topic == "" {
		cfg.Topic = "org.example.app"
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("emulate: %w", err)
	}
	a := &APNS{topic: cfg.Topic, key: key, keyID: "EMULATED01", teamID: "EMULATEDTM", renewed: make(map[string]provider)}
	a.Service, err = listen(cfg.Addr, true, apnsRules, vocabulary{codes: sorted(apnsStatus), since: true}, func() string {
		raw := make([]byte, 32)
		rand.Read(raw) // never fails
		return hex.EncodeToString(raw)
	}, http.HandlerFunc(a.send))
	if err != nil {
		return nil, err
	}
	a.serve()
	return a, nil
}

// Topic returns the app's bundle id.
func (a *APNS) Topic() string { return a.topic }

// KeyID and TeamID name the key of KeyPEM.
func (a *APNS) KeyID() string  { return a.keyID }
func (a *APNS) TeamID() string { return a.teamID }

// KeyPEM returns the .p8 file of the authentication key.
func (a *APNS) KeyPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		panic("emulate: internal error: " + err.Error()) // a key made by StartAPNS
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// apnsStatus maps APNs' reasons to their HTTP statuses.
var apnsStatus = map[string]int{
	"BadCollapseId": 400, "BadDeviceToken": 400, "BadExpirationDate": 400, "BadMessageId": 400, "BadPriority": 400, "BadTopic": 400,
	"DeviceTokenNotForTopic": 400, "DuplicateHeaders": 400, "IdleTimeout": 400, "InvalidPushType": 400, "MissingDeviceToken": 400,
	"MissingTopic": 400, "PayloadEmpty": 400, "TopicDisallowed": 400, "BadCertificate": 403, "BadCertificateEnvironment": 403,
	"ExpiredProviderToken": 403, "Forbidden": 403, "InvalidProviderToken": 403, "MissingProviderToken": 403, "UnrelatedKeyIdInToken": 403,
	"BadEnvironmentKeyIdInToken": 403, "BadPath": 404, "MethodNotAllowed": 405, "Unregistered": 410, "ExpiredToken": 410,
	"PayloadTooLarge": 413, "TooManyProviderTokenUpdates": 429, "TooManyRequests": 429, "InternalServerError": 500,
	"ServiceUnavailable": 503, "Shutdown": 503,
}

func refuseAPNS(w http.ResponseWriter, status int, reason string, since time.Time) {
	if status == 0 {
		status = apnsStatus[reason]
	}
	body := map[string]any{"reason": reason}
	if status == http.StatusGone {
		body["timestamp"] = since.UnixMilli()
	}
	reply(w, status, body)
}

func (a *APNS) send(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 {
		http.Error(w, "HTTP/2 only", http.StatusHTTPVersionNotSupported)
		return
	}
	raw, err := content(r)
	if err != nil {
		refuseAPNS(w, 0, "PayloadTooLarge", time.Time{})
		return
	}
	push, reason := a.read(r, raw)
	if reason != "" {
		refuseAPNS(w, 0, reason, time.Time{})
		return
	}
	answer := a.next(push.Token)
	if answer.Accept {
		a.accept(push)
	}
	a.perform(w, r, answer)
	since, gone := a.goneSince(push.Token)
	switch {
	case answer.answered():
	case answer.fails():
		if answer.Timestamp.IsZero() {
			answer.Timestamp = time.Now()
		}
		refuseAPNS(w, answer.Status, answer.Code, answer.Timestamp)
	case gone:
		refuseAPNS(w, 0, "Unregistered", since)
	case !a.known(push.Token):
		refuseAPNS(w, 0, "BadDeviceToken", time.Time{})
	default:
		if !answer.Accept {
			a.accept(push)
		}
		w.Header().Set("apns-id", push.ID)
		w.WriteHeader(http.StatusOK)
	}
}

// apnsToken reports whether a token has the form of a device token: 32 to 100 bytes
// in hexadecimal.
func apnsToken(token string) bool {
	raw, err := hex.DecodeString(token)
	return err == nil && len(raw) >= 32 && len(raw) <= 100
}

var (
	uuidForm  = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	pushTypes = []string{"alert", "background", "location", "voip", "complication", "fileprovider", "mdm", "liveactivity", "pushtotalk"}
)

// read checks a request as APNs does, in its order; reason is empty for a valid
// one.
func (a *APNS) read(r *http.Request, raw []byte) (p Push, reason string) {
	token, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	switch {
	case !ok:
		return p, "BadPath"
	case r.Method != http.MethodPost:
		return p, "MethodNotAllowed"
	case token == "":
		return p, "MissingDeviceToken"
	case !apnsToken(token):
		return p, "BadDeviceToken"
	}
	if reason = a.authorise(r); reason != "" {
		return p, reason
	}
	h := r.Header
	for _, name := range []string{"apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id", "apns-id"} {
		if len(h.Values(name)) > 1 {
			return p, "DuplicateHeaders"
		}
	}
	kind, priority := h.Get("apns-push-type"), h.Get("apns-priority")
	switch {
	case h.Get("apns-topic") == "":
		return p, "MissingTopic"
	case h.Get("apns-topic") != a.topic:
		return p, "TopicDisallowed"
	case !slices.Contains(pushTypes, kind):
		return p, "InvalidPushType"
	case priority != "" && priority != "10" && priority != "5" && priority != "1", kind == "background" && priority != "5":
		return p, "BadPriority"
	case len(h.Get("apns-collapse-id")) > 64:
		return p, "BadCollapseId"
	case h.Get("apns-id") != "" && !uuidForm.MatchString(h.Get("apns-id")):
		return p, "BadMessageId"
	case len(raw) == 0:
		return p, "PayloadEmpty"
	case len(raw) > 4096:
		return p, "PayloadTooLarge"
	}
	ttl := time.Duration(0)
	if text := h.Get("apns-expiration"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return p, "BadExpirationDate"
		}
		if seconds > 0 {
			ttl = time.Until(time.Unix(seconds, 0)).Round(time.Second)
		}
	}
	var payload map[string]json.RawMessage
	var aps struct {
		Alert            json.RawMessage `json:"alert"`
		MutableContent   int             `json:"mutable-content"`
		ContentAvailable int             `json:"content-available"`
	}
	if json.Unmarshal(raw, &payload) != nil || payload["aps"] == nil || json.Unmarshal(payload["aps"], &aps) != nil {
		return p, "PayloadEmpty"
	}
	if kind == "alert" && aps.Alert == nil || kind == "background" && (aps.ContentAvailable != 1 || aps.Alert != nil) {
		return p, "InvalidPushType" // Apple accepts these, but then wakes nobody
	}
	delete(payload, "aps")
	body, _ := json.Marshal(payload)
	id := h.Get("apns-id")
	if id == "" {
		raw := make([]byte, 16)
		rand.Read(raw) // never fails
		id = fmt.Sprintf("%X-%X-%X-%X-%X", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
	}
	return Push{
		At: time.Now(), Token: strings.ToLower(token), ID: id, Body: body, CollapseID: h.Get("apns-collapse-id"), TTL: ttl,
		Urgent: priority != "5" && priority != "1", Visible: aps.Alert != nil, Header: h, Raw: raw,
	}, ""
}

// authorise checks the provider token.
func (a *APNS) authorise(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if text == "" || !strings.EqualFold(scheme, "bearer") {
		return "MissingProviderToken"
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(text, &claims, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != a.keyID {
			return nil, fmt.Errorf("no key has the id %v", t.Header["kid"])
		}
		return a.key.Public(), nil
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(a.teamID), jwt.WithIssuedAt(), jwt.WithLeeway(time.Minute))
	now := time.Now()
	switch {
	case err != nil || claims.IssuedAt == nil:
		return "InvalidProviderToken"
	case now.Sub(claims.IssuedAt.Time) > time.Hour:
		return "ExpiredProviderToken"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last, seen := a.renewed[r.RemoteAddr]
	switch {
	case seen && last.token == text:
		return ""
	case seen && now.Sub(last.since) < 20*time.Minute:
		return "TooManyProviderTokenUpdates"
	case len(a.renewed) >= maxReceived:
		clear(a.renewed)
	}
	a.renewed[r.RemoteAddr] = provider{text, now}
	return ""
}
