package pushext

import (
	"context"
	"log/slog"
	"strconv"
	"time"
)

// Provider delivers wake-ups to devices through one push service: FCM, a
// webhook, APNs. Implementations live in directories of their own below
// pushext and import it, never the reverse; each must pass the suite in
// pushext/providertest.
type Provider interface {
	// Name is the provider's name in the routes of registrations and in metrics:
	// "fcm", "webhook", or an instance name such as "fcm-eu". It is constant, at
	// most 32 bytes of [a-z0-9-], and unique in a server.
	Name() string

	// Check checks the syntax of an address, and whether policy allows it, before a
	// registration that holds it is accepted. It does no network I/O. The error's
	// text is shown to the registrant, so it says what to change and repeats no
	// secret.
	Check(addr Address) error

	// Push makes one attempt to deliver n and says what became of it. It must
	// return soon after ctx ends (with Retry), never retries by itself, never
	// panics, and is safe for concurrent use. It must not keep n.Body.
	Push(ctx context.Context, n Notification) Verdict
}

// Laner is implemented by a Provider whose addresses lead to different hosts,
// such as webhooks. Notifications with different lanes are queued, limited
// and paused apart, so one slow or broken host holds back nobody else. As users name
// the hosts, there is also a limit on what one domain, or one network of literal
// addresses, may use at once, over all lanes of such providers.
type Laner interface {
	// Lane names the lane of an address that passed Check, usually the
	// host and port of its URL. It is a map key only: never logged, never a label.
	Lane(addr Address) string
}

// Canonicalizer is implemented by a Provider whose addresses can be spelled in
// several ways, such as URLs. For any other Provider, different texts are different
// addresses.
type Canonicalizer interface {
	// Canonical returns the one spelling that stands for all that lead to the same
	// device. It is called with addresses that passed Check. The result passes Check
	// as well, and is its own canonical spelling. An address that does not pass is
	// returned unchanged. It does no network I/O.
	//
	// Registrations are kept, counted, owned and queued by the canonical spelling.
	// Otherwise the spellings of one address would be challenged, limited and paused
	// apart.
	Canonical(addr Address) Address
}

// Address is where a provider reaches one device. It is a secret: anybody who knows
// it can push to the device, and it identifies its owner to the provider.
// Formatting or logging an Address shows neither token nor keys.
type Address struct {
	Token string   // device token, or the endpoint's URL
	Keys  [][]byte // provider specific: p256dh and auth of Web Push, the webhook's secret
}

const redacted = "[address]"

// String hides the address.
func (Address) String() string { return redacted }

// GoString hides the address from %#v.
func (Address) GoString() string { return redacted }

// LogValue hides the address from structured logs.
func (Address) LogValue() slog.Value { return slog.StringValue(redacted) }

// MaxBody is the largest Notification.Body in bytes, the limit that FCM, APNs
// and RFC 8030 push services share.
const MaxBody = 4096

// Notification is one wake-up on its way to one device.
type Notification struct {
	Address Address

	// Body is a JSON object for the app, at most MaxBody bytes: the sealed or
	// plain form of pushwire.Payload. The app must receive exactly these
	// bytes, or, where the service carries only key-value pairs, exactly
	// these keys and values.
	Body []byte

	// CollapseID is at most 32 characters of base64url, random and constant
	// for an address of a registration: a newer notification replaces an
	// undelivered older one that has the same id. No other service, and no other
	// address of the device, is given the same one.
	CollapseID string

	// Unreplaced is set when there is probably nothing at the push service for this
	// wake-up to replace: the device is fetching, and it has used up the collapsible
	// messages that a Collapser delivers without delay. Such services send it without
	// CollapseID. It is never set on a wake-up that may repeat one from before a crash.
	Unreplaced bool

	// TTL is how long the service may keep the notification for a device that
	// is offline. 0 means deliver now or drop.
	TTL time.Duration

	// Urgent asks for delivery to a sleeping device. It is false for wake-ups
	// that only remove notifications.
	Urgent bool

	// Visible allows an alert to the user with the app's fallback text. It is
	// false for wake-ups that must not be seen, such as challenges.
	Visible bool

	// ID is random, at most 36 characters of [A-Za-z0-9_-], and the same for
	// every attempt of one wake-up at one address, so a receiver may drop
	// repetitions. The same wake-up through another route has another ID.
	ID string
}

// Class says what the dispatcher does after an attempt.
type Class int

const (
	// Retry is any failure that says nothing lasting about the address, the
	// message or the provider: network errors, 5xx, timeouts. The dispatcher
	// tries again after a growing, jittered delay.
	Retry Class = iota
	// Delivered means that the push service accepted the notification.
	Delivered
	// RetryAt is Retry with a time before which not to try again: a 429 or 503
	// with Retry-After. Verdict.Scope says what has to wait.
	RetryAt
	// MessageBad means that this message can never be sent: too large,
	// malformed. It is dropped with its reason; the address stays.
	MessageBad
	// TokenDead means that the push service said exactly that this address is
	// gone: FCM UNREGISTERED, APNs 410, RFC 8030 404 or 410. Anything less
	// exact is Retry or ProviderBroken. The registration is removed if the same
	// lane works for others meanwhile, unless so many die at once that the
	// service is the likelier cause.
	TokenDead
	// ProviderBroken means that no address could be reached through this
	// provider now: credentials refused, sender mismatch, wrong project. The
	// whole lane pauses, or all lanes, and what is queued there waits.
	ProviderBroken
	// Absent means that the device has no connection of its own to this server
	// now, which is not a failure: the next route is tried at once. Without
	// another route, the notification waits until the device is back. Only a
	// Linked provider returns it.
	Absent
)

var classNames = [...]string{"retry", "delivered", "retry_at", "message_bad", "token_dead", "provider_broken", "absent"}

// String is the class as a metric label: "retry", "delivered", "retry_at",
// "message_bad", "token_dead", "provider_broken" or "absent".
func (c Class) String() string {
	if c < 0 || int(c) >= len(classNames) {
		return "class_" + strconv.Itoa(int(c))
	}
	return classNames[c]
}

// Scope is how far a verdict reaches beyond the notification that it is about. The
// provider decides by what its push service documents; the dispatcher never guesses.
// A verdict that a stranger can bring about with an address of their own, such as a
// rate that their device exceeds or an answer of a host that they named, reaches no
// further than ScopeAddress or ScopeHost.
//
//	class           default  what follows, by scope
//	Delivered       host     the host works, whatever it said before
//	Retry           host     the device waits, until At or for a growing pause; the lane
//	                         pauses when breakerThreshold different devices fail in a row
//	RetryAt         address  address, host: as Retry; provider: nothing is sent to anybody until At
//	MessageBad      address  the message is dropped
//	TokenDead       address  the registration may end
//	ProviderBroken  host     address: as Retry; host: its lane pauses; provider: all lanes pause
//	Absent          address  the next route is tried
//
// A provider that is not a Laner has one host, so for it ScopeHost is ScopeProvider.
// With a Laner, users name the hosts, so an answer of a host does not by itself stop
// a lane.
type Scope int

const (
	// ScopeDefault is the default scope of the class.
	ScopeDefault Scope = iota
	// ScopeAddress is this address only: a device that was sent too much.
	ScopeAddress
	// ScopeHost is every address at the same host: no answer, an answer that only a
	// host in trouble gives.
	ScopeHost
	// ScopeProvider is every address of this provider: the quota of the operator's
	// account, credentials that were refused, a push service that is down.
	ScopeProvider
)

// Verdict is a provider's judgement of one attempt.
type Verdict struct {
	Class Class

	// Scope says how far the verdict reaches; see Scope.
	Scope Scope

	// At is the time before which not to try again (RetryAt and Retry), or since
	// which the address is dead (TokenDead). Zero is unknown.
	At time.Time

	// Reason is one of a small fixed set of phrases per provider, such as
	// "fcm 404 UNREGISTERED" or "webhook timeout". It becomes a metric label and is
	// shown to the registrant by Status, so it never holds free text
	// of the push service, a token, an address or a URL.
	Reason string
}
