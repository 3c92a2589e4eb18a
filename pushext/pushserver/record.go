package pushserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// record is all that the registry keeps of a registration.
type record struct {
	registration.Registration
	channels []registration.Channel // ascending by topic

	digest [32]byte  // of the latest change: the same one again is no change
	due    time.Time // when sweep looks at it: it expires, or its tombstone goes
	// proved says that it proved an address once, by a code, if it need be: its own
	// link is none. Nothing else makes it so, and nothing takes it back. One that
	// never did gives way first, leaves no tombstone, and is a newcomer.
	proved     bool
	challenges []challenge
	filed      [][16]byte // fingerprints of addresses in another spelling, by which an earlier version keeps it
	source     [16]byte   // fingerprint of the whisper.Source it was registered from
	root       []byte     // of the capabilities for Notify; may be empty
	handle     []byte
	revoked    []string
}

// challenge is a code on its way to an address.
type challenge struct {
	route int // in routes
	code  [pushwire.CodeSize]byte
	until time.Time
}

// live reports whether it is a registration and not the tombstone of one.
func (r *record) live() bool {
	return r.State != registration.Expired && r.State != registration.Terminated
}

// listens reports whether envelopes are matched for it: its channels are in the
// index. One that was confirmed once goes on matching while it proves a new
// address, and is woken for all of it afterwards.
func (r *record) listens() bool {
	return r.State == registration.Active || r.State == registration.Waiting && r.proved
}

// die forgets the addresses, and tells why. One that never proved any keeps
// nothing but that, for as long as it had to do so: its device learns of it,
// and it takes no more room than before.
func (r *record) die(reason string) {
	r.State, r.Reason = registration.Dead, reason
	r.Routes, r.challenges = nil, nil
	if !r.proved {
		r.channels, r.Group, r.root, r.handle, r.revoked = nil, nil, nil, nil, nil
		return
	}
	r.due = r.Expires
}

// bury makes a tombstone of it: nothing stays but the key, the version and why.
func (r *record) bury(s registration.State, reason string, now time.Time, life time.Duration) {
	r.Registration = registration.Registration{
		ID: r.ID, Key: r.Key, Version: r.Version, State: s, Reason: reason,
		Registered: r.Registered, Expires: now,
	}
	*r = record{Registration: r.Registration, digest: r.digest, due: now.Add(life)}
}

// find returns the place of a topic in channels, or where it belongs.
func (r *record) find(t whisper.Topic) (int, bool) {
	return slices.BinarySearchFunc(r.channels, t, func(c registration.Channel, t whisper.Topic) int {
		return slices.Compare(c.Topic[:], t[:])
	})
}

// recordVersion is the first element of a record, recordLayout.
const recordVersion = 1

var errRecord = errors.New("registration record is damaged")

// recordLayout is a record on disk, as an RLP list; it is sealed. Elements may
// be added at its end.
type recordLayout struct {
	Format     uint8
	Key        [33]byte
	Version    uint64
	Digest     [32]byte
	State      uint8
	Fresh      bool
	Reason     string
	Registered uint64 // Unix milliseconds, as all times
	Expires    uint64
	Due        uint64
	Routes     []routeLayout
	Challenges []challengeLayout
	SealKey    []byte
	Plain      bool
	Group      []byte
	Collapse   string
	Source     [16]byte
	Root       []byte
	Handle     []byte
	Revoked    []string
	Tail       []rlp.RawValue `rlp:"tail"`
}

type routeLayout struct {
	Provider string
	Token    string
	Keys     [][]byte
	Proven   bool
}

type challengeLayout struct {
	Route uint8
	Code  [pushwire.CodeSize]byte
	Until uint64
}

// encode returns the record without its channels.
func (r *record) encode() []byte {
	l := recordLayout{
		Format: recordVersion, Key: r.Key, Version: r.Version, Digest: r.digest, State: uint8(r.State), Fresh: !r.proved, Reason: r.Reason,
		Registered: millis(r.Registered), Expires: millis(r.Expires), Due: millis(r.due),
		SealKey: r.SealKey, Plain: r.Plain, Group: r.Group, Collapse: r.Collapse, Source: r.source,
		Root: r.root, Handle: r.handle, Revoked: r.revoked,
	}
	for _, route := range r.Routes {
		l.Routes = append(l.Routes, routeLayout{route.Provider, route.Address.Token, route.Address.Keys, route.Proven})
	}
	for _, c := range r.challenges {
		l.Challenges = append(l.Challenges, challengeLayout{uint8(c.route), c.code, millis(c.until)})
	}
	b, err := rlp.EncodeToBytes(&l)
	if err != nil {
		panic(err) // every field has an encoding
	}
	return b
}

// decodeRecord undoes encode.
func decodeRecord(id registration.ID, b []byte) (*record, error) {
	var l recordLayout
	if err := rlp.DecodeBytes(b, &l); err != nil {
		return nil, fmt.Errorf("%w: %v", errRecord, err)
	}
	if l.Format != recordVersion {
		return nil, fmt.Errorf("%w: format %d, not %d", errRecord, l.Format, recordVersion)
	}
	if l.State > uint8(registration.Terminated) {
		return nil, fmt.Errorf("%w: state %d", errRecord, l.State)
	}
	r := &record{
		Registration: registration.Registration{
			ID: id, Key: l.Key, Version: l.Version, State: registration.State(l.State), Reason: l.Reason,
			Registered: fromMillis(l.Registered), Expires: fromMillis(l.Expires),
			SealKey: l.SealKey, Plain: l.Plain, Group: l.Group, Collapse: l.Collapse,
		},
		digest: l.Digest, due: fromMillis(l.Due), proved: !l.Fresh, source: l.Source,
		root: l.Root, handle: l.Handle, revoked: l.Revoked,
	}
	for _, on := range l.Routes {
		r.Routes = append(r.Routes, registration.Route{
			Provider: on.Provider,
			Address:  pushext.Address{Token: on.Token, Keys: on.Keys},
			Proven:   on.Proven,
		})
	}
	for _, c := range l.Challenges {
		if int(c.Route) >= len(r.Routes) {
			return nil, fmt.Errorf("%w: challenge of route %d of %d", errRecord, c.Route, len(r.Routes))
		}
		r.challenges = append(r.challenges, challenge{int(c.Route), c.Code, fromMillis(c.Until)})
	}
	return r, nil
}

// What the index needs of a record is apart on disk, so that the start of the
// server reads nothing else: a version byte, the state, whether it never proved
// an address, the expiry in Unix milliseconds (big-endian), and for each channel
// the topic, the mode and until when it is muted. It is sealed.
const (
	listeningVersion = 1
	listeningHeader  = 1 + 1 + 1 + 8
	channelSize      = whisper.TopicSize + 1 + 4
)

// encodeListening returns state, expiry and channels.
func (r *record) encodeListening() []byte {
	b := make([]byte, 0, listeningHeader+len(r.channels)*channelSize)
	fresh := byte(0)
	if !r.proved {
		fresh = 1
	}
	b = append(b, listeningVersion, byte(r.State), fresh)
	b = binary.BigEndian.AppendUint64(b, millis(r.Expires))
	for i := range r.channels {
		c := &r.channels[i]
		b = append(b, c.Topic[:]...)
		b = append(b, byte(c.Mode))
		b = binary.BigEndian.AppendUint32(b, c.Muted)
	}
	return b
}

// decodeListening fills in what encodeListening wrote, and uses the room of
// r.channels for the channels.
func (r *record) decodeListening(b []byte) error {
	if len(b) < listeningHeader || b[0] != listeningVersion || b[1] > byte(registration.Terminated) || b[2] > 1 || (len(b)-listeningHeader)%channelSize != 0 {
		return fmt.Errorf("%w: %d bytes of channels", errRecord, len(b))
	}
	r.State, r.proved = registration.State(b[1]), b[2] == 0
	r.Expires = fromMillis(binary.BigEndian.Uint64(b[3:]))
	r.channels = r.channels[:0]
	for b = b[listeningHeader:]; len(b) > 0; b = b[channelSize:] {
		c := registration.Channel{Topic: whisper.Topic(b[:4]), Mode: registration.Mode(b[4]), Muted: binary.BigEndian.Uint32(b[5:])}
		if c.Mode >= pushwire.Removed {
			return fmt.Errorf("%w: channel mode %d", errRecord, c.Mode)
		}
		r.channels = append(r.channels, c)
	}
	return nil
}

// wants reports whether a notification for an envelope on a topic may ring.
func (r *record) wants(t whisper.Topic, kind pushwire.NotifyKind, now time.Time) bool {
	at, known := r.find(t)
	if !known {
		return true // a shared topic, which the holder was told to ring for
	}
	c := &r.channels[at]
	switch {
	case c.Muted > topics.Seconds(now), c.Mode == pushwire.Muted:
		return false
	case c.Mode == pushwire.Mentions:
		return kind == pushwire.NotifyMention
	}
	return true
}
