package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"whisperpush/pushext/pushserver"
)

// kept returns what the node keeps.
func (a *Admin) kept() *kept {
	k := &kept{settings: a.node.settings, archive: a.node.archive}
	if server, ok := a.node.push.(*pushserver.Server); ok {
		k.push = server.Snapshot
	}
	return k
}

// ArchiveStats describes what the archive holds.
func (a *Admin) ArchiveStats(context.Context) (ArchiveReport, error) { return a.kept().stats() }

// PruneArchive drops whole partitions that were archived before a time and have expired.
func (a *Admin) PruneArchive(_ context.Context, before time.Time) (PruneReport, error) {
	return a.kept().prune(before)
}

// TakeEnvelopes archives envelopes that are not archived yet. Nobody is woken for one that expired over an hour ago.
func (a *Admin) TakeEnvelopes(ctx context.Context, raws [][]byte) (TakeReport, error) {
	return a.kept().take(ctx, raws)
}

// StreamReport is a copy that has begun.
type StreamReport struct {
	ID    string `json:"id"`    // to read the copy by
	Bytes int64  `json:"bytes"` // roughly how many bytes it will have, 0 if not known
}

// Chunk is a part of a copy.
type Chunk struct {
	Data []byte `json:"data"` // base64 in JSON
	End  bool   `json:"end"`  // nothing follows
}

// OpenExport starts copying the archive.
func (a *Admin) OpenExport(context.Context) (StreamReport, error) {
	k := a.kept()
	if k.archive == nil {
		return StreamReport{}, errNoArchive
	}
	return a.stream(k, k.export)
}

// OpenBackup starts copying everything that the node keeps.
func (a *Admin) OpenBackup(_ context.Context, withKeys bool) (StreamReport, error) {
	k := a.kept()
	if WithStore(k.settings()) {
		return StreamReport{}, k.backup(context.Background(), io.Discard, false) // returns why it cannot
	}
	return a.stream(k, func(ctx context.Context, w io.Writer) error { return k.backup(ctx, w, withKeys) })
}

func (a *Admin) stream(k *kept, write func(context.Context, io.Writer) error) (StreamReport, error) {
	id, err := a.streams.begin(write)
	return StreamReport{ID: id, Bytes: k.size()}, err
}

// ReadStream returns the next part of a copy.
func (a *Admin) ReadStream(_ context.Context, id string) (Chunk, error) {
	data, end, err := a.streams.read(id)
	if err != nil && !errors.Is(err, context.Canceled) {
		err = fmt.Errorf("the copy is not whole: %w", err)
	}
	return Chunk{data, end}, err
}

// CloseStream abandons a copy.
func (a *Admin) CloseStream(_ context.Context, id string) (bool, error) {
	a.streams.end(id)
	return true, nil
}
