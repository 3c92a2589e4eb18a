package push

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// NewDevice are the settings of a device.
type NewDevice struct {
	Name         string `json:"name"`         // by which it is called from now on: 1 to 64 of a-z, A-Z, 0-9, dot, dash and underscore
	Server       string `json:"server"`       // enode URL of the mailserver, or https URL of its door; empty: this node
	PushKey      string `json:"pushKey"`      // the mailserver's push key in hexadecimal; empty: this node's
	MailPassword string `json:"mailPassword"` // the mailserver's password for history; empty: its usual one, or none is needed
}

// Device is one of the devices that are kept here.
type Device struct {
	Name     string `json:"name"`
	Server   string `json:"server"`   // empty: this node
	Active   bool   `json:"active"`   // the mailserver wakes it, by its last word
	Channels int    `json:"channels"` // how many
}

// Registration is how a device wants to be woken, and for how long.
type Registration struct {
	Routes   []Route       `json:"routes"`   // the preferred one first; at least one
	Lifetime uint64        `json:"lifetime"` // seconds; 0: the longest that the mailserver allows
	Group    hexutil.Bytes `json:"group"`    // a secret that the user's devices share, so that what is read on one is gone on all; may be empty
	Plain    bool          `json:"plain"`    // the push service is shown which envelopes wait
	Voucher  hexutil.Bytes `json:"voucher"`  // pays for the registration where the mailserver asks for that
	Rings    bool          `json:"rings"`    // others may ring the device, with what push_newCapability gives
	Revoked  []string      `json:"revoked"`  // holders who may no longer
}

// Route is one way to wake a device.
type Route struct {
	Provider string          `json:"provider"` // the mailserver's name for it, such as fcm
	Address  string          `json:"address"`  // token, endpoint or topic, as the push service gave it
	Keys     []hexutil.Bytes `json:"keys"`     // of Web Push: p256dh and auth
	Direct   bool            `json:"direct"`   // the device's own connection: no address
}

// Channel is one conversation that a device listens to.
type Channel struct {
	Name         string        `json:"name"`         // previews say it
	Topic        whisper.Topic `json:"topic"`        // of its envelopes
	SymKeyID     string        `json:"symKeyID"`     // id of a symmetric key in the namespace shh; one of the three
	PrivateKeyID string        `json:"privateKeyID"` // id of a key pair there that is written to; or
	Password     string        `json:"password"`     // of which the symmetric key is made
	Mode         string        `json:"mode"`         // "every" message wakes (also if empty), "mentions" alone, or nothing: "muted"
	MutedUntil   uint64        `json:"mutedUntil"`   // Unix seconds; nothing wakes before
	Unlisted     bool          `json:"unlisted"`     // the mailserver is not told of it; push_history finds its messages
}

// KnownChannel is a channel that a device has.
type KnownChannel struct {
	ID         string        `json:"id"` // by which it is removed, and named in previews
	Name       string        `json:"name"`
	Topic      whisper.Topic `json:"topic"`
	Mode       string        `json:"mode"`
	MutedUntil uint64        `json:"mutedUntil"` // Unix seconds; 0: it is not
	Unlisted   bool          `json:"unlisted"`
}

// Event is what a push meant, or what was found without one.
type Event struct {
	Kind      string        `json:"kind"`      // messages, challenge, dismiss or canary
	Previews  []Preview     `json:"previews"`  // messages that push_shown was not told of, the oldest first
	Dismissed []common.Hash `json:"dismissed"` // were read on another device: remove their notifications
	Missing   []common.Hash `json:"missing"`   // the mailserver no longer has them
	Gap       bool          `json:"gap"`       // pushes before this one were lost; what they told of is here
	More      bool          `json:"more"`      // more waits: call push_shown for these, then push_history
}

// Preview is a message as a notification shows it.
type Preview struct {
	Channel string        `json:"channel"` // its id
	Name    string        `json:"name"`    // of the channel
	Topic   whisper.Topic `json:"topic"`
	Sender  hexutil.Bytes `json:"sender,omitempty"` // public key, 65 bytes; missing: nobody signed it
	Text    string        `json:"text"`             // the beginning of the message, without control characters
	Payload hexutil.Bytes `json:"payload"`          // the message
	Sent    int64         `json:"sent"`             // Unix milliseconds
	Claimed bool          `json:"claimed"`          // sent is what the envelope says, which anybody can have made
	Hash    common.Hash   `json:"hash"`             // of the envelope
	Message common.Hash   `json:"message"`          // of what was encrypted, whatever envelope it comes in
	Link    string        `json:"link"`             // leads to the message, for a tap
}

// State is how a registration is.
type State struct {
	Active bool   `json:"active"` // the mailserver wakes the device
	State  string `json:"state"`  // none, waiting (for a challenge to be answered), active …
	Reason string `json:"reason"` // why the device is not woken; may be empty
}

// Status is how a registration is, asked of the mailserver now.
type Status struct {
	State
	Expires  uint64   `json:"expires"`  // Unix seconds
	Seq      uint64   `json:"seq"`      // number of the newest wake-up
	Channels int      `json:"channels"` // that the mailserver knows
	Lines    []string `json:"lines"`    // the same and more for people: why pushes arrive, or do not
}

// Capability is what its holder needs to ring a device, at one mailserver. Give it to them in private.
type Capability struct {
	Handle hexutil.Bytes `json:"handle"` // 16 bytes
	Holder string        `json:"holder"` // who it was made for
	Secret hexutil.Bytes `json:"secret"` // 32 bytes
}

// Offer is a mailserver with push that announced itself.
type Offer struct {
	PushKey   string     `json:"pushKey"`
	Enode     string     `json:"enode"`
	Providers []Provider `json:"providers"`
	Channels  uint64     `json:"channels"` // most of one device
	Lifetime  uint64     `json:"lifetime"` // longest, in seconds
	Price     string     `json:"price"`    // a sentence; empty: it is free
	Issued    uint64     `json:"issued"`   // Unix seconds
	Expires   uint64     `json:"expires"`  // Unix seconds
}

// Provider is a way to be woken that a mailserver offers.
type Provider struct {
	Name string `json:"name"` // for a route
	Info string `json:"info"` // what an app needs to get an address, such as a VAPID key
}

var modes = []string{pushwire.Every: "every", pushwire.Mentions: "mentions", pushwire.Muted: "muted"}

// errOneKey says what a channel needs.
var errOneKey = errors.New("give exactly one of symKeyID, privateKeyID and password for each channel")

// open reads a channel, with keys from where the caller has put them.
func (c *Channel) open(ctx context.Context, keys Keys) (r record, err error) {
	given := 0
	for _, way := range []string{c.SymKeyID, c.PrivateKeyID, c.Password} {
		if way != "" {
			given++
		}
	}
	mode := max(0, slices.Index(modes, c.Mode))
	switch {
	case given != 1:
		return r, errOneKey
	case c.Topic == whisper.Topic{}:
		return r, errors.New("a channel has no topic; give its four bytes, such as 0x5a4ea131")
	case len(c.Name) > maxChannelName:
		return r, fmt.Errorf("the name of a channel has %d bytes, and at most %d are kept", len(c.Name), maxChannelName)
	case c.Mode != "" && c.Mode != modes[mode]:
		return r, fmt.Errorf("there is no mode %.20q; give one of %s", c.Mode, strings.Join(modes, ", "))
	case c.MutedUntil > uint64(maxTime):
		return r, errors.New("mutedUntil is no time in seconds")
	}
	r = record{Name: c.Name, Topic: c.Topic, Mode: pushwire.Mode(mode), MutedUntil: c.MutedUntil, Unlisted: c.Unlisted}
	switch {
	case c.SymKeyID != "":
		r.Key, err = keys.GetSymKey(ctx, c.SymKeyID)
	case c.PrivateKeyID != "":
		r.Identity, err = keys.GetPrivateKey(ctx, c.PrivateKeyID)
	default:
		r.Key = whisper.KeyFromPassword(c.Password)
	}
	return r, err
}

// maxTime is the latest time that is taken, in Unix seconds: the end of the year 9999.
const maxTime = 253402300799

// record is a channel as it is kept.
type record struct {
	Name       string        `json:"name"`
	Topic      whisper.Topic `json:"topic"`
	Key        hexutil.Bytes `json:"key,omitempty"`
	Identity   hexutil.Bytes `json:"identity,omitempty"`
	Mode       pushwire.Mode `json:"mode,omitempty"`
	MutedUntil uint64        `json:"mutedUntil,omitempty"`
	Unlisted   bool          `json:"unlisted,omitempty"`
}

func (r *record) chat() (client.Chat, error) {
	chat := client.Chat{Name: r.Name, Topic: r.Topic, Mode: r.Mode, Unlisted: r.Unlisted}
	if r.MutedUntil > 0 {
		chat.MutedUntil = time.Unix(int64(r.MutedUntil), 0)
	}
	if len(r.Identity) == 0 {
		chat.Key = r.Key
		return chat, nil
	}
	identity, err := crypto.ToECDSA(r.Identity)
	chat.Identity = identity
	return chat, err
}

func (r *record) known() (k KnownChannel, err error) {
	chat, err := r.chat()
	if err != nil {
		return k, err
	}
	return KnownChannel{chat.ID().String(), r.Name, r.Topic, modes[r.Mode], r.MutedUntil, r.Unlisted}, nil
}

// registration reads what a caller wants; direct makes the route of the device's own connection.
func (r *Registration) registration(direct func(provider string) (pushwire.Route, error)) (w client.Registration, err error) {
	if r.Lifetime > maxTime {
		return w, errors.New("lifetime is no number of seconds that a mailserver allows")
	}
	w = client.Registration{Lifetime: time.Duration(min(r.Lifetime, 1<<32)) * time.Second, Group: r.Group, Plain: r.Plain, Voucher: r.Voucher}
	if len(r.Routes) > pushwire.MaxRoutes {
		return w, fmt.Errorf("%d routes, and a registration has at most %d", len(r.Routes), pushwire.MaxRoutes)
	}
	for _, given := range r.Routes {
		route := pushwire.Route{Provider: given.Provider, Address: []byte(given.Address)}
		if given.Direct {
			if route, err = direct(given.Provider); err != nil {
				return w, err
			}
		}
		for _, key := range given.Keys {
			route.Keys = append(route.Keys, key)
		}
		w.Routes = append(w.Routes, route)
	}
	return w, nil
}

func eventOf(e *client.Event) Event {
	event := Event{Kind: e.Kind.String(), Previews: []Preview{}, Dismissed: append([]common.Hash{}, e.Dismissed...), Missing: append([]common.Hash{}, e.Missing...), Gap: e.Gap, More: e.More}
	if e.Kind == 0 {
		event.Kind = pushwire.Messages.String() // found without a push
	}
	for i := range e.Previews {
		event.Previews = append(event.Previews, previewOf(&e.Previews[i]))
	}
	return event
}

func previewOf(p *client.Preview) Preview {
	return Preview{
		Channel: p.ChatID.String(), Name: p.Chat, Topic: p.Topic, Sender: publicKey(p.Sender), Text: p.Text, Payload: p.Payload,
		Sent: p.Sent.UnixMilli(), Claimed: p.Claimed, Hash: p.Hash, Message: p.Message, Link: p.Link(),
	}
}

func publicKey(key *ecdsa.PublicKey) hexutil.Bytes {
	if key == nil {
		return nil
	}
	return crypto.FromECDSAPub(key)
}

func statusOf(s *client.Status) Status {
	return Status{
		State:   State{s.State == pushwire.Active, s.State.String(), s.Reason},
		Expires: s.Expires, Seq: s.Seq, Channels: len(s.StatusReply.Channels), Lines: s.Explain(time.Now()),
	}
}
