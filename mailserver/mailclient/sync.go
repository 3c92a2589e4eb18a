package mailclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// SyncNode is a Node that sends the requests of Sync. A whisper.Node is one.
type SyncNode interface {
	Node
	SendSyncRequest(ctx context.Context, peer enode.ID, payload rlp.RawValue) error
}

// Page is one answer to a mailwire.SyncRequest.
type Page struct {
	Envelopes []*whisper.Envelope // in the order sent, each once
	Ignored   int                 // envelopes that were not asked for, or came twice
	Damaged   int                 // elements in place of an envelope that were none
	Cursor    []byte              // where to continue; empty: there is no more
}

// syncing is an answer to a SyncRequest under way. Client.mu guards its fields except the channels.
type syncing struct {
	request mailwire.SyncRequest
	bytes   int // still taken
	page    Page
	have    map[common.Hash]bool
	err     error

	moved chan struct{} // capacity 1: something came
	over  chan struct{} // closed when the answer is over
	ended bool
}

// Sync asks a mailserver of status-go as another mailserver does, page after page, until there is no
// more. It hands over each page and asks for the next one only after handle has returned nil, so a
// caller can continue after what it handled with the cursor of the last page. It takes no more
// envelopes of a page than the request asks for, only those of its times and topics, and each once.
// Like Collect, it asks again for what does not come in time. A refusal is a *RefusedError; after a
// refusal such a mailserver closes the link.
func (c *Client) Sync(ctx context.Context, server enode.ID, r mailwire.SyncRequest, handle func(Page) error) error {
	for {
		page, err := patiently(ctx, c, func() (Page, error) { return c.askSync(ctx, server, r) })
		if err != nil {
			return err
		}
		if err := handle(page); err != nil {
			return err
		}
		switch {
		case len(page.Cursor) == 0:
			return nil
		case bytes.Equal(page.Cursor, r.Cursor):
			return ErrNoProgress
		}
		r.Cursor = page.Cursor
	}
}

// askSync sends one request and collects its answer.
func (c *Client) askSync(ctx context.Context, server enode.ID, r mailwire.SyncRequest) (Page, error) {
	release, err := c.takeTurn(ctx, server)
	if err != nil {
		return Page{}, err
	}
	defer release()
	payload, err := r.Encode()
	if err != nil {
		return Page{}, err
	}
	k := &syncing{request: r, bytes: c.cfg.MaxBytes, have: map[common.Hash]bool{}, moved: make(chan struct{}, 1), over: make(chan struct{})}
	c.mu.Lock()
	node := c.node
	c.syncs[server] = k
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.syncs, server)
	}()
	sender, ok := node.(SyncNode)
	if !ok {
		return Page{}, errors.New("mailclient: no node attached that sends sync requests")
	}
	if err := sender.SendSyncRequest(ctx, server, payload); err != nil {
		return Page{}, fmt.Errorf("mailclient: sending a sync request: %w", err)
	}
	timer := time.NewTimer(c.cfg.Timeout)
	defer timer.Stop()
	for {
		select {
		case <-k.over:
			c.mu.Lock()
			defer c.mu.Unlock()
			return k.page, k.err
		case <-ctx.Done():
			return Page{}, ctx.Err()
		case <-k.moved:
			timer.Reset(c.cfg.Timeout)
		case <-timer.C:
			return Page{}, ErrTimeout
		}
	}
}

// HandleSyncResponse takes the payload of a packet 124. It does not block.
func (c *Client) HandleSyncResponse(peer enode.ID, payload []byte) {
	c.mu.Lock()
	asked := c.syncs[peer] != nil
	if !asked {
		c.ignored++
	}
	c.mu.Unlock()
	if !asked {
		return // without decoding anything
	}
	s, err := mailwire.DecodeSyncResponse(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.syncs[peer]; k != nil && !k.ended {
		k.take(s, len(payload), err)
	}
}

// take adds a part of the answer, which is malformed if err is not nil.
func (k *syncing) take(s mailwire.SyncResponse, size int, err error) {
	if err != nil {
		k.finish(err)
		return
	}
	if k.bytes -= size; k.bytes < 0 {
		k.finish(ErrTooMuch)
		return
	}
	progress := false
	for _, e := range s.Envelopes {
		if k.have[e.Hash()] || !k.wants(e) {
			k.page.Ignored++ // does not count as progress: a peer could keep a request open with it
			continue
		}
		if uint32(len(k.page.Envelopes)) == k.request.Limit {
			k.finish(ErrTooMuch)
			return
		}
		k.have[e.Hash()] = true
		k.page.Envelopes = append(k.page.Envelopes, e)
		progress = true
	}
	k.page.Damaged += s.Damaged
	switch {
	case s.Refusal != "":
		k.finish(&RefusedError{s.Refusal})
	case s.Final:
		k.page.Cursor = bytes.Clone(s.Cursor)
		k.finish(nil)
	case progress:
		select {
		case k.moved <- struct{}{}:
		default:
		}
	}
}

// wants reports whether an envelope was asked for.
func (k *syncing) wants(e *whisper.Envelope) bool {
	r := k.request
	return e.Sent() >= r.Lower && e.Sent() <= r.Upper && (r.Bloom == nil || r.Bloom.Covers(e.Topic.Bloom()))
}

func (k *syncing) finish(err error) {
	k.err, k.ended = err, true
	close(k.over)
}
