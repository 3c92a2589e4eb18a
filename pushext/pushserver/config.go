package pushserver

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/durable"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/vault"
)

// Config configures a Server. Fields without a stated zero value are required.
type Config struct {
	// Dir is the directory of the push database. It is created if it does not exist.
	Dir string

	// Store, if not nil, is an open push database that replaces the one in Dir. It
	// belongs to the Server, which closes it when it stops, and to New, which closes
	// it if it fails. nil: the database is in Dir.
	Store durable.Store

	// PushKey is the server's key for registrations: requests are encrypted to
	// it, and replies are signed with it. It must never be the node key.
	PushKey *ecdsa.PrivateKey

	// FormerKeys are the server's earlier push keys, oldest first. The last one is still
	// answered until its time. Requests to all others are refused with a text that says what
	// to do. May be empty.
	FormerKeys []FormerKey

	// DiskKey, of DiskKeySize bytes, seals addresses and keys in the database.
	// Keep it in a file outside Dir: without it the registrations cannot be read.
	DiskKey []byte

	Log       pushext.Log
	Envelopes Envelopes
	Sender    Sender

	// Providers are the ways to wake devices, each with its own name. May
	// be empty: then no registration is accepted.
	Providers []pushext.Provider

	// SkipChallenge names providers whose addresses are believed without a
	// challenge: for test networks only, as it lets anybody wake anything.
	SkipChallenge []string

	// Admission says what has to be paid for; nil: nothing. Vouchers is an implementation.
	Admission Admission

	// Shard is set if other servers hold part of the registrations.
	Shard *Shard

	Limits   Limits   // zero fields mean defaults
	Delivery Delivery // zero fields mean defaults

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: metrics are not registered

	storage durable.Storage // replaces the files in Dir, in tests
}

// check returns c with its defaults filled in, or an error that says what is wrong with it.
func (c Config) check() (Config, error) {
	switch {
	case c.Dir == "" && c.storage == nil && c.Store == nil:
		return c, errors.New("push needs a directory")
	case c.PushKey == nil:
		return c, errors.New("push needs a push key")
	case len(c.DiskKey) != DiskKeySize:
		return c, fmt.Errorf("push disk key has %d bytes, want %d", len(c.DiskKey), DiskKeySize)
	case c.Log == nil, c.Envelopes == nil, c.Sender == nil:
		return c, errors.New("push needs an archive's log and envelopes, and a sender")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	names := make(map[string]bool, len(c.Providers))
	for _, p := range c.Providers {
		names[p.Name()] = true
	}
	for _, name := range c.SkipChallenge {
		if !names[name] {
			return c, fmt.Errorf("challenges are switched off for provider %q, which is not configured", name)
		}
	}
	var err error
	c.Limits = c.Limits.WithDefaults()
	c.Delivery, err = c.Delivery.WithDefaults()
	c.Delivery.SealedOnly = c.Limits.SealedOnly
	return c, err
}

// What the caller of New has to know about the database.
const DiskKeySize = vault.DiskKeySize // of Config.DiskKey, in bytes

var (
	// ErrDiskKey means that the database was written with another DiskKey.
	ErrDiskKey = vault.ErrDiskKey
	// ErrFormat means that the database has no format that this program knows: a later
	// version wrote it, or its format record is missing or damaged.
	ErrFormat = vault.ErrFormat
)

// landTimeout is how long Stop lets attempts in flight end by themselves. The
// rest of its ten seconds is for writing their results to disk.
const landTimeout = 8 * time.Second
