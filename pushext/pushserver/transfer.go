package pushserver

import (
	"context"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/transfer"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/whisper"
)

// UnionShards is the number of shards that Divide makes and Unite takes.
const UnionShards = registration.UnionShards

var (
	// ErrUnknownRecord means that there is a record that this version does not know.
	ErrUnknownRecord = transfer.ErrUnknown
	// ErrUnsettled means that a store that was made of shards has not been opened since.
	ErrUnsettled = transfer.ErrUnsettled
	// ErrCopyDiffers means that a copy read back differs from what was written.
	ErrCopyDiffers = transfer.ErrDiffer
)

// Transferred reports what Divide or Unite took.
type Transferred = transfer.Report

// A Transfer copies everything that a push server keeps from one store to the shards of a cluster, or back. Neither side may
// be open elsewhere. The sources stay as they are.
type Transfer struct {
	diskKey []byte
	begun   time.Time
	sums    []transfer.Sums // of what was put into each store
}

// NewTransfer begins a Transfer. begun is the same for all attempts at it.
func NewTransfer(diskKey []byte, begun time.Time) *Transfer {
	return &Transfer{diskKey: diskKey, begun: begun}
}

// CheckTransfer returns an error if the registrations in a store cannot be read. It wraps ErrDiskKey, ErrFormat or
// ErrRotating.
func CheckTransfer(from durable.Store, diskKey []byte) error {
	_, err := vault.Peek(from, diskKey)
	return err
}

// ErrNoFormat means that a store was never used.
var ErrNoFormat = vault.ErrNoFormat

// OpenAsIs opens the push database in dir read-only.
func OpenAsIs(dir string) (durable.Store, error) {
	db, err := durable.Open(dir, vault.Options(durable.Options{ReadOnly: true}))
	if err != nil {
		return nil, err // not a nil *durable.DB in an interface
	}
	return db, nil
}

// OpenEmpty begins a push database in dir, where there must be none.
func OpenEmpty(dir string) (durable.Store, error) {
	db, err := durable.Open(dir, vault.Options(durable.Options{}))
	if err != nil {
		return nil, err // not a nil *durable.DB in an interface
	}
	return db, nil
}

// Divide calls put with each record that the shards are to have. of returns the shard of a registration key, and topic the
// topic of the envelope with a receive sequence, or false if it is not archived. put may not keep its arguments.
func (t *Transfer) Divide(ctx context.Context, from durable.Store, of func(key [33]byte) int, topic func(seq uint64) (whisper.Topic, bool), put func(shard int, key, value []byte) error) (Transferred, error) {
	sum, err := t.summed(from, UnionShards, put)
	if err != nil {
		return Transferred{}, err
	}
	return transfer.Divide(ctx, from, t.diskKey, transfer.Plan{Of: of, Begun: t.begun, Topic: topic}, sum)
}

// Unite calls put with each record that the single store is to have. from holds the shards, UnionShards of them.
func (t *Transfer) Unite(ctx context.Context, from []durable.Store, put func(key, value []byte) error) (Transferred, error) {
	var opened durable.Store // any shard that was used
	for _, s := range from {
		if _, err := s.Get(vault.KeyFormat); err == nil {
			opened = s
		}
	}
	sum, err := t.summed(opened, 1, func(_ int, key, value []byte) error { return put(key, value) })
	if err != nil {
		return Transferred{}, err
	}
	return transfer.Unite(ctx, from, t.diskKey, t.begun, sum)
}

// summed wraps put so that everything put is also summed.
func (t *Transfer) summed(from durable.Store, stores int, put transfer.Put) (transfer.Put, error) {
	t.sums = make([]transfer.Sums, stores)
	if from == nil {
		return put, nil
	}
	v, err := vault.Peek(from, t.diskKey)
	if err != nil {
		return nil, err
	}
	return func(shard int, key, value []byte) error {
		if err := t.sums[shard].Add(v, key, value); err != nil {
			return err
		}
		return put(shard, key, value)
	}, nil
}

// Verify reads the store that was written for a shard (0 for a single store) and compares it with what was put. each is
// called for each record. The error wraps ErrCopyDiffers.
func (t *Transfer) Verify(ctx context.Context, shard int, written durable.Store, each func()) error {
	v, err := vault.Peek(written, t.diskKey)
	if err != nil {
		return err
	}
	sums, err := transfer.SumsOf(ctx, written, v, each)
	if err != nil {
		return err
	}
	return t.sums[shard].Compare(sums)
}

// settleUnion does what the shards that this store was made of had left to do: who owns an address, and what devices of a
// group have seen. No requests are served meanwhile.
func (x *Server) settleUnion(ctx context.Context) error {
	if err := x.registry.SettleUnion(UnionShards); err != nil {
		return err
	}
	for _, t := range x.outbox.Tellings() {
		group, err := x.registry.Grouped(t.Group)
		if err != nil {
			return err
		}
		// Those in the shard that wrote the Telling already knew.
		group = slices.DeleteFunc(group, func(id registration.ID) bool { return int(id%UnionShards) == int(t.Number%UnionShards) })
		if err := x.protocol.SeenBy(ctx, group, t.Hashes); err != nil {
			return err
		}
		x.outbox.Told(t.Number)
	}
	return nil
}
