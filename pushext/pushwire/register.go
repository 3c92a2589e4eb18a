package pushwire

import "whisperpush/whisper"

// Register creates or replaces a registration: [version, routes, sealKey, plain,
// channels, lifetime, group, preferences, chain, voucher], where chain and voucher
// may be missing.
//
// The registration belongs to the key that signed the request. A route that was
// confirmed before, with the same provider, address and keys, stays confirmed.
// Every other route is challenged.
type Register struct {
	// Version is greater than that of any earlier change. The same version
	// with the same content gets the same answer as the first time, so a
	// device that missed the reply may ask again. A clock in milliseconds will
	// do.
	Version uint64
	// Routes are the ways to wake the device, the preferred one first: 1 to
	// MaxRoutes.
	Routes []Route
	// SealKey is the X25519 public key to which wake-ups are sealed. It is
	// empty when Plain is set.
	SealKey []byte
	// Plain asks for wake-ups that show the envelopes' hashes to the push
	// service, which can then tell which topics the device listens to.
	Plain bool
	// Channels are the topics that wake the device: at most MaxChannels, no
	// topic twice.
	Channels []Channel
	// Lifetime is the number of seconds after which the registration ends
	// unless it is renewed. The server may shorten it; 0 is the longest it
	// allows.
	Lifetime uint64
	// Group is a secret of at most MaxGroup bytes that the devices of one user
	// share: what one of them has seen, the others need not show. It may be
	// empty.
	Group []byte

	Preferences Preferences

	// Chain is the start of the keys that wake-ups for messages are sealed under
	// from now on: ChainStart of Version, ChainSize bytes. If it is empty, the
	// server agrees on a key with SealKey for each wake-up.
	Chain []byte

	// Voucher pays for the registration if the server requires that: at most
	// MaxVoucher bytes, empty for none. See package voucher.
	Voucher []byte
}

// Preferences are the optional part of a registration:
// [root, handle, revoked].
type Preferences struct {
	// Root lets others ring the device with Notify: the server derives
	// each holder's capability from it. It has RootSize bytes, or is
	// empty if nobody may.
	Root []byte
	// Handle names the registration in Notify. It has HandleSize random
	// bytes and is given together with Root.
	Handle []byte
	// Revoked are the holders whose capabilities are void: at most MaxRevoked.
	Revoked []string
}

// Route is one way to wake a device: [provider, address, keys].
type Route struct {
	Provider string   // name as in the server's Offer, such as "fcm"
	Address  []byte   // device token or URL, 1 to MaxToken bytes
	Keys     [][]byte // what else the provider needs, such as p256dh and auth for Web Push
}

// Mode says when a channel wakes the device.
type Mode uint8

// Modes of a channel.
const (
	Every    Mode = 0 // for every envelope
	Mentions Mode = 1 // only for a Notify of kind NotifyMention
	Muted    Mode = 2 // for nothing
	Removed  Mode = 3 // in Channels only: the channel ends
)

var modes = [...]string{"every", "mentions", "muted", "removed"}

// String is "every", "mentions", "muted" or "removed".
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return "unknown"
}

// Channel is a topic that a registration listens to:
// [topic, mode, mutedUntil].
type Channel struct {
	Topic whisper.Topic
	Mode  Mode
	// MutedUntil (Unix seconds) silences the channel up to a time, whatever
	// its mode. The mode applies again afterwards.
	MutedUntil uint64
}

// Channels changes some of a registration's channels and leaves the others
// unchanged: [version, channels, revoked].
type Channels struct {
	Version  uint64    // as in Register
	Channels []Channel // new, changed, or Removed; at most MaxChannels, no topic twice
	Revoked  []string  // holders to revoke besides those revoked before; at most MaxRevoked
}

// Kind is KindRegister.
func (*Register) Kind() RequestKind { return KindRegister }

// Kind is KindChannels.
func (*Channels) Kind() RequestKind { return KindChannels }

func (g *Register) encode(w writer) {
	w.WriteUint64(g.Version)
	w.list(func() {
		for _, route := range g.Routes {
			w.list(func() {
				w.WriteString(route.Provider)
				w.WriteBytes(route.Address)
				w.list(func() {
					for _, key := range route.Keys {
						w.WriteBytes(key)
					}
				})
			})
		}
	})
	w.WriteBytes(g.SealKey)
	w.WriteBool(g.Plain)
	writeChannels(w, g.Channels)
	w.WriteUint64(g.Lifetime)
	w.WriteBytes(g.Group)
	w.list(func() {
		w.WriteBytes(g.Preferences.Root)
		w.WriteBytes(g.Preferences.Handle)
		writeHolders(w, g.Preferences.Revoked)
	})
	w.tail(len(g.Chain) > 0 || len(g.Voucher) > 0, func() { w.WriteBytes(g.Chain) })
	w.tail(len(g.Voucher) > 0, func() { w.WriteBytes(g.Voucher) })
}

func (g *Register) decode(r *reader) {
	g.Version = r.uint("version")
	g.Routes = items(r, "routes", MaxRoutes, sublist("route", func(r *reader) (route Route) {
		route.Provider = string(r.bytes("provider name", MaxProviderName))
		route.Address = r.bytes("address", MaxToken)
		route.Keys = items(r, "provider keys", MaxKeys, func(r *reader) []byte {
			return r.bytes("provider key", MaxKey)
		})
		if route.Provider == "" || len(route.Address) == 0 {
			r.fail(ErrMalformed, "route without provider or address")
		}
		return route
	}))
	g.SealKey = r.maybe("seal key", SealKeySize)
	g.Plain = r.bool("plain")
	g.Channels = readChannels(r, Muted)
	g.Lifetime = r.uint("lifetime")
	g.Group = r.bytes("group id", MaxGroup)
	p := r.list("preferences")
	g.Preferences.Root = p.maybe("root", RootSize)
	g.Preferences.Handle = p.maybe("handle", HandleSize)
	g.Preferences.Revoked = readHolders(p, MaxRevoked)
	r.leave(p)
	g.Chain = r.maybe("chain", ChainSize)
	g.Voucher = r.bytes("voucher", MaxVoucher)
	switch {
	case r.err != nil:
	case g.Version == 0:
		r.fail(ErrMalformed, "version 0")
	case len(g.Routes) == 0:
		r.fail(ErrMalformed, "registration without a route")
	case g.Plain == (len(g.SealKey) != 0):
		r.fail(ErrMalformed, "registration needs a seal key, or else plain, and not both")
	case g.Plain && len(g.Chain) != 0:
		r.fail(ErrMalformed, "a chain for wake-ups that are not sealed")
	case (len(g.Preferences.Root) == 0) != (len(g.Preferences.Handle) == 0):
		r.fail(ErrMalformed, "root and handle come together")
	}
}

func (c *Channels) encode(w writer) {
	w.WriteUint64(c.Version)
	writeChannels(w, c.Channels)
	writeHolders(w, c.Revoked)
}

func (c *Channels) decode(r *reader) {
	c.Version = r.uint("version")
	c.Channels = readChannels(r, Removed)
	c.Revoked = readHolders(r, MaxRevoked)
	if r.err == nil && c.Version == 0 {
		r.fail(ErrMalformed, "version 0")
	}
}

func writeChannels(w writer, channels []Channel) {
	w.list(func() {
		for i := range channels {
			w.list(func() {
				w.WriteBytes(channels[i].Topic[:])
				w.WriteUint64(uint64(channels[i].Mode))
				w.WriteUint64(channels[i].MutedUntil)
			})
		}
	})
}

func readChannels(r *reader, last Mode) []Channel {
	seen := make(map[whisper.Topic]bool)
	return items(r, "channels", MaxChannels, sublist("channel", func(r *reader) (c Channel) {
		r.fixed("topic", c.Topic[:])
		c.Mode = Mode(r.small("mode", uint64(last)))
		c.MutedUntil = r.uint("muted until")
		if seen[c.Topic] {
			r.fail(ErrMalformed, "a topic comes twice")
		}
		seen[c.Topic] = true
		return c
	}))
}

func writeHolders(w writer, holders []string) {
	w.list(func() {
		for _, holder := range holders {
			w.WriteString(holder)
		}
	})
}

func readHolders(r *reader, most int) []string {
	return items(r, "revoked holders", most, func(r *reader) string {
		return string(r.bytes("holder", MaxHolder))
	})
}
