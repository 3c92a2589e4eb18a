package mailclient

import (
	"context"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// collection is an answer under way. Client.mu guards its fields except the
// channels.
type collection struct {
	id      common.Hash
	request mailwire.Request
	topics  map[whisper.Topic]bool
	hashes  map[common.Hash]bool
	rows    int // still taken
	bytes   int // still taken

	envelopes []*whisper.Envelope
	have      map[common.Hash]bool
	last      common.Hash // of the last envelope that arrived, wanted or not
	ignored   int
	mark      *mailwire.Complete
	err       error

	moved chan struct{} // capacity 1: something came
	over  chan struct{} // closed by finish
}

func newCollection(id common.Hash, r mailwire.Request, cfg Config) *collection {
	k := &collection{
		id: id, request: r, rows: cfg.MaxRows, bytes: cfg.MaxBytes,
		have:  make(map[common.Hash]bool),
		moved: make(chan struct{}, 1),
		over:  make(chan struct{}),
	}
	if r.Limit > 0 {
		k.rows = min(k.rows, int(min(r.Limit, 1<<30)))
	}
	if len(r.Topics) > 0 {
		k.topics = make(map[whisper.Topic]bool, len(r.Topics))
		for _, t := range r.Topics {
			k.topics[t] = true
		}
	}
	if len(r.Hashes) > 0 {
		k.hashes = make(map[common.Hash]bool, len(r.Hashes))
		for _, h := range r.Hashes {
			k.hashes[h] = true
		}
	}
	return k
}

// wants reports whether the envelope was asked for.
func (k *collection) wants(env *whisper.Envelope) bool {
	r := k.request
	switch {
	case k.hashes != nil:
		return k.hashes[env.Hash()]
	case k.topics != nil && !k.topics[env.Topic]:
		return false
	case k.topics == nil && r.Bloom != nil && !r.Bloom.Covers(env.Topic.Bloom()):
		return false
	}
	lower := int64(r.Lower)
	if r.Cursor.Ascending {
		// The mailserver uses its own clock; see mailwire.MaxClockSkew.
		lower -= int64(mailwire.MaxClockSkew / time.Second)
	}
	endless := r.Upper == 0 && r.Form == mailwire.List
	return int64(env.Sent()) >= lower && (endless || env.Sent() <= r.Upper)
}

// take adds an envelope.
func (k *collection) take(env *whisper.Envelope) {
	if k.done() {
		k.ignored++
		return
	}
	k.last = env.Hash()
	if !k.wants(env) || k.have[k.last] {
		// It does not count as progress: a peer could keep a request open with it.
		k.ignored++
		return
	}
	if k.rows--; k.rows < 0 {
		k.finish(ErrTooMuch)
		return
	}
	if k.bytes -= len(env.Raw()); k.bytes < 0 {
		k.finish(ErrTooMuch)
		return
	}
	k.have[k.last] = true
	k.envelopes = append(k.envelopes, env)
	select {
	case k.moved <- struct{}{}:
	default:
	}
}

// end takes the end mark.
func (k *collection) end(mark mailwire.Complete) {
	if k.done() {
		return
	}
	k.mark = &mark
	switch {
	case mark.Refusal != "":
		k.finish(&RefusedError{mark.Refusal})
	case mark.Last != common.Hash{} && mark.Last != k.last:
		k.finish(ErrIncomplete)
	default:
		k.finish(nil)
	}
}

func (k *collection) finish(err error) {
	k.err = err
	close(k.over)
}

func (k *collection) done() bool {
	select {
	case <-k.over:
		return true
	default:
		return false
	}
}

// wait returns when the answer is over, or nothing came for too long.
func (k *collection) wait(ctx context.Context, cfg Config) error {
	patience := cfg.Timeout
	if !k.request.Form.EndMark() {
		patience = cfg.Quiet
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-k.over:
			return k.err // written before over was closed
		case <-ctx.Done():
			return ctx.Err()
		case <-k.moved:
			timer.Reset(patience)
		case <-timer.C:
			if k.request.Form.EndMark() {
				return ErrTimeout
			}
			return nil
		}
	}
}

// answer returns the answer so far and ends it, so that nothing is added later.
func (k *collection) answer() Answer {
	a := Answer{Envelopes: k.envelopes, Ignored: k.ignored}
	if k.mark != nil {
		a.Marked, a.Cursor, a.Proof = true, k.mark.Cursor, k.mark.Proof
	}
	if !k.done() {
		k.finish(nil)
	}
	return a
}
