package registry

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

// Record is all that the registry keeps of a registration.
type Record struct {
	registration.Registration
	Channels []registration.Channel // ascending by topic

	digest [32]byte  // of the latest change: the same one again changes nothing
	due    time.Time // when sweep looks at it: it expires, or its tombstone goes
	// Proved says that it proved an address once, by a code if one was needed; its own link
	// does not count. Nothing else sets it, and nothing takes it back. A registration that
	// never proved one gives way first, leaves no tombstone, and is a newcomer.
	Proved     bool
	challenges []challenge
	filed      [][16]byte // fingerprints of addresses in another spelling, under which an earlier version filed it
	source     [16]byte   // fingerprint of the whisper.Source it was registered from
	Root       []byte     // of the capabilities for Notify; may be empty
	handle     []byte
	Revoked    []string
	Paid       time.Time // until when it is paid for; zero: it never was
	// Duty numbers what is matched for it: it changes whenever Duties do, or when matching
	// had a break.
	Duty uint64
	// heard marks the push key that the device asked with last, if that was not the server's
	// first: zero, or KeyMarkOf it.
	heard uint64
}

// challenge is a code on its way to an address.
type challenge struct {
	route int // in routes
	code  [pushwire.CodeSize]byte
	until time.Time
}

// Live reports whether it is a registration and not the tombstone of one.
func (r *Record) Live() bool {
	return r.State != registration.Expired && r.State != registration.Terminated
}

// Listens reports whether envelopes are matched for it: its channels are in the index.
// One that was confirmed once goes on matching while it proves a new address, and is
// woken for all of that afterwards.
func (r *Record) Listens() bool {
	return r.State == registration.Active || r.State == registration.Waiting && r.Proved
}

// die forgets the addresses and keeps the reason. A registration that never proved any
// keeps nothing else, for as long as it had to prove one: its device learns of it, and it
// takes no more room than before.
func (r *Record) die(reason string) {
	r.State, r.Reason = registration.Dead, reason
	r.Routes, r.challenges = nil, nil
	if !r.Proved {
		r.Channels, r.Group, r.Root, r.handle, r.Revoked = nil, nil, nil, nil, nil
		return
	}
	r.due = r.Expires
}

// bury makes a tombstone of it: nothing stays but the key, the version and the reason.
func (r *Record) bury(s registration.State, reason string, now time.Time, life time.Duration) {
	r.Registration = registration.Registration{
		ID: r.ID, Key: r.Key, Version: r.Version, State: s, Reason: reason,
		Registered: r.Registered, Expires: now,
	}
	*r = Record{Registration: r.Registration, digest: r.digest, due: now.Add(life)}
}

// find returns the place of a topic in channels, or where it belongs.
func (r *Record) find(t whisper.Topic) (int, bool) {
	return slices.BinarySearchFunc(r.Channels, t, func(c registration.Channel, t whisper.Topic) int {
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
	Chain      uint64         `rlp:"optional"`
	Paid       uint64         `rlp:"optional"`
	Duty       uint64         `rlp:"optional"`
	Heard      uint64         `rlp:"optional"`
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
func (r *Record) encode() []byte {
	l := recordLayout{
		Format: recordVersion, Key: r.Key, Version: r.Version, Digest: r.digest, State: uint8(r.State), Fresh: !r.Proved, Reason: r.Reason,
		Registered: registration.Millis(r.Registered), Expires: registration.Millis(r.Expires), Due: registration.Millis(r.due),
		SealKey: r.SealKey, Plain: r.Plain, Group: r.Group, Collapse: r.Collapse, Source: r.source,
		Root: r.Root, Handle: r.handle, Revoked: r.Revoked, Chain: r.Chain, Duty: r.Duty, Heard: r.heard,
	}
	if !r.Paid.IsZero() {
		l.Paid = registration.Millis(r.Paid)
	}
	for _, route := range r.Routes {
		l.Routes = append(l.Routes, routeLayout{route.Provider, route.Address.Token, route.Address.Keys, route.Proven})
	}
	for _, c := range r.challenges {
		l.Challenges = append(l.Challenges, challengeLayout{uint8(c.route), c.code, registration.Millis(c.until)})
	}
	b, err := rlp.EncodeToBytes(&l)
	if err != nil {
		panic(err) // every field has an encoding
	}
	return b
}

// decodeRecord undoes encode.
func decodeRecord(id registration.ID, b []byte) (*Record, error) {
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
	r := &Record{
		Registration: registration.Registration{
			ID: id, Key: l.Key, Version: l.Version, State: registration.State(l.State), Reason: l.Reason,
			Registered: registration.FromMillis(l.Registered), Expires: registration.FromMillis(l.Expires),
			SealKey: l.SealKey, Chain: l.Chain, Plain: l.Plain, Group: l.Group, Collapse: l.Collapse,
		},
		digest: l.Digest, due: registration.FromMillis(l.Due), Proved: !l.Fresh, source: l.Source,
		Root: l.Root, handle: l.Handle, Revoked: l.Revoked, Duty: l.Duty, heard: l.Heard,
	}
	if l.Paid > 0 {
		r.Paid = registration.FromMillis(l.Paid)
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
		r.challenges = append(r.challenges, challenge{int(c.Route), c.Code, registration.FromMillis(c.Until)})
	}
	return r, nil
}

// The part of a record that the index needs is apart on disk, so that the start of the
// server reads nothing else: a version byte, the state, whether it never proved an
// address, the expiry in Unix milliseconds (big-endian), and for each channel the topic,
// the mode and until when it is muted. It is sealed.
const (
	listeningVersion = 1
	listeningHeader  = 1 + 1 + 1 + 8
	channelSize      = whisper.TopicSize + 1 + 4
)

// encodeListening returns state, expiry and channels.
func (r *Record) encodeListening() []byte {
	b := make([]byte, 0, listeningHeader+len(r.Channels)*channelSize)
	fresh := byte(0)
	if !r.Proved {
		fresh = 1
	}
	b = append(b, listeningVersion, byte(r.State), fresh)
	b = binary.BigEndian.AppendUint64(b, registration.Millis(r.Expires))
	for i := range r.Channels {
		c := &r.Channels[i]
		b = append(b, c.Topic[:]...)
		b = append(b, byte(c.Mode))
		b = binary.BigEndian.AppendUint32(b, c.Muted)
	}
	return b
}

// decodeListening fills in what encodeListening wrote, and uses the room of
// r.channels for the channels.
func (r *Record) decodeListening(b []byte) error {
	if len(b) < listeningHeader || b[0] != listeningVersion || b[1] > byte(registration.Terminated) || b[2] > 1 || (len(b)-listeningHeader)%channelSize != 0 {
		return fmt.Errorf("%w: %d bytes of channels", errRecord, len(b))
	}
	r.State, r.Proved = registration.State(b[1]), b[2] == 0
	r.Expires = registration.FromMillis(binary.BigEndian.Uint64(b[3:]))
	r.Channels = r.Channels[:0]
	for b = b[listeningHeader:]; len(b) > 0; b = b[channelSize:] {
		c := registration.Channel{Topic: whisper.Topic(b[:4]), Mode: registration.Mode(b[4]), Muted: binary.BigEndian.Uint32(b[5:])}
		if c.Mode >= pushwire.Removed {
			return fmt.Errorf("%w: channel mode %d", errRecord, c.Mode)
		}
		r.Channels = append(r.Channels, c)
	}
	return nil
}

// Wants reports whether a notification for an envelope on a topic may ring.
func (r *Record) Wants(t whisper.Topic, kind pushwire.NotifyKind, now time.Time) bool {
	at, known := r.find(t)
	if !known {
		return true // a shared topic, which the holder was told to ring for
	}
	c := &r.Channels[at]
	switch {
	case c.Muted > topics.Seconds(now), c.Mode == pushwire.Muted:
		return false
	case c.Mode == pushwire.Mentions:
		return kind == pushwire.NotifyMention
	}
	return true
}
