package cluster

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/desk"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
)

// Kinds of messages between nodes. Numbers are big-endian. A caller is its id (32), then its
// source with its length (1) before it.
const (
	kindAnswer   = iota // status 1, and what the kind says
	kindCall            // shard 1, flags 1, caller, envelope: a request for the shard's owner
	kindPresent         // shard 1, caller, registration key 33, push key 33: a device is connected, and used that push key; without one: the first
	kindGone            // id 32: a caller is not connected any more
	kindSend            // id 32, and each envelope with its length (4) before it: to be sent to a caller
	kindVouch           // id 32, proved 1: a caller is worth more than a stranger
	kindSeen            // shard 1, the group's key with its length (1) before it, hashes 32 each
	kindYield           // shard 1, claim; answered with a later claim or nothing
	kindAnswered        // id 32: nothing more comes for a caller's request
	kindHeard           // push key 33; answered with how many registrations were heard with it 8, of how many 8. An empty message is answered with an empty one: the node knows shared push keys
	kindArchived        // sequence 8, part 8: the newest envelope that the node has archived; not answered
)

// Flags of a call.
const (
	flagMute  = 1 << iota // it gets no answer
	flagBrief             // the caller's connection ends with the answer
)

// claimSize is the size of a claim: address 16, time 8, shard 1.
const claimSize = 16 + 8 + 1

// maxSeen is how many hashes a message carries.
const maxSeen = 1024

func appendCaller(b []byte, from pushserver.Caller, source whisper.Source) []byte {
	id := from.ID()
	b = append(b, id[:]...)
	if len(source) > 255 {
		source = source[:255]
	}
	b = append(b, byte(len(source)))
	return append(b, source...)
}

// reader reads a message. After an error it reads zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errFrame
		return make([]byte, max(min(n, 64), 0))
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) id() desk.ID { return desk.ID(r.take(32)) }

func (r *reader) shard() int {
	n := int(r.byte())
	if n >= postgres.ShardCount {
		r.err = fmt.Errorf("%w: there is no shard %d", errFrame, n)
		return 0
	}
	return n
}

func (r *reader) caller(p *peer) remote {
	id := r.id()
	return remote{p, id, whisper.Source(r.take(int(r.byte()))), true}
}

func appendClaim(b []byte, c pushserver.Claim) []byte {
	b = append(b, c.Address[:]...)
	b = binary.BigEndian.AppendUint64(b, c.At)
	return append(b, byte(c.Shard))
}

func (r *reader) claim() (c pushserver.Claim) {
	b := r.take(claimSize)
	if r.err != nil {
		return c
	}
	return pushserver.Claim{Address: [16]byte(b), At: binary.BigEndian.Uint64(b[16:]), Shard: int(b[24])}
}

// call hands a request to the other node.
func (p *peer) call(ctx context.Context, shard int, one call) error {
	b := []byte{byte(shard), 0}
	if one.mute {
		b[1] = flagMute
	} else if !one.from.Stays() {
		b[1] = flagBrief
	}
	b = appendCaller(b, one.from, one.source)
	_, err := p.ask(ctx, kindCall, append(b, one.env.Raw()...), replyTimeout)
	return err
}

// present says that a device is connected.
func (p *peer) present(ctx context.Context, d device) error {
	b := appendCaller([]byte{byte(d.shard)}, d.from, d.from.Source())
	_, err := p.ask(ctx, kindPresent, append(append(b, d.key[:]...), d.pushKey[:]...), replyTimeout)
	return err
}

// gone says that a caller has left.
func (p *peer) gone(ctx context.Context, id desk.ID) {
	p.ask(ctx, kindGone, id[:], replyTimeout) // a failure means that the connection has ended, which says the same
}

// send has the other node hand envelopes to a caller.
func (p *peer) send(ctx context.Context, id desk.ID, envs []*whisper.Envelope) error {
	b := append([]byte(nil), id[:]...)
	for _, env := range envs {
		b = binary.BigEndian.AppendUint32(b, uint32(len(env.Raw())))
		b = append(b, env.Raw()...)
	}
	_, err := p.ask(ctx, kindSend, b, sendTimeout)
	return err
}

// vouch tells the other node what a caller is worth. It does not wait.
func (p *peer) vouch(id desk.ID, proved bool) {
	b := append([]byte(nil), id[:]...)
	if proved {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	p.write(kindVouch, 0, b)
}

// answered tells the other node that nothing more comes for a caller's request. It does not wait.
func (p *peer) answered(id desk.ID) { p.write(kindAnswered, 0, id[:]) }

// archived tells the other node what is new in the log. It does not wait for an answer.
func (p *peer) archived(newest, part uint64) error {
	return p.write(kindArchived, 0, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, newest), part))
}

// seen tells the owner of a shard what a device of a group has seen.
func (p *peer) seen(ctx context.Context, shard int, group []byte, hashes []common.Hash) error {
	b := append([]byte{byte(shard), byte(len(group))}, group...)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	_, err := p.ask(ctx, kindSeen, b, replyTimeout)
	return err
}

// yield asks the owner of a shard to give up an address; see Server.yieldHere.
func (p *peer) yield(ctx context.Context, shard int, c pushserver.Claim) (later *pushserver.Claim, err error) {
	b, err := p.ask(ctx, kindYield, appendClaim([]byte{byte(shard)}, c), replyTimeout)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	r := reader{b: b}
	found := r.claim()
	return &found, r.err
}

// take carries out a message. The error ends the connection.
func (p *peer) take(kind byte, seq uint32, body []byte) error {
	r := reader{b: body}
	switch kind {
	case kindCall:
		shard, flags, from := r.shard(), r.byte(), r.caller(p)
		if r.err != nil {
			return r.err
		}
		from.stays = flags&flagBrief == 0
		p.takeCall(seq, shard, flags&flagMute != 0, from, r.b)
	case kindPresent:
		shard, from, key := r.shard(), r.caller(p), r.take(33)
		var pushKey [33]byte
		if len(r.b) > 0 { // a node of an earlier version names none
			pushKey = [33]byte(r.take(33))
		}
		if r.err != nil {
			return r.err
		}
		core := p.s.keepers[shard].current()
		if core == nil {
			p.answer(seq, errNoOwner, nil)
			return nil
		}
		p.came(from.id)
		p.later(seq, func(context.Context) ([]byte, error) { return nil, core.server.Heard(from, [33]byte(key), pushKey) })
	case kindGone:
		id := r.id()
		p.left(id)
		p.answer(seq, r.err, nil)
	case kindSend:
		return p.takeSend(seq, &r)
	case kindVouch:
		id, proved := r.id(), r.byte() == 1
		switch from := p.s.present.caller(id); {
		case from == nil:
		case proved:
			from.Proved()
		default:
			from.Useful()
		}
	case kindAnswered:
		if from := p.s.present.caller(r.id()); from != nil {
			from.Answered()
		}
	case kindArchived:
		newest, part := binary.BigEndian.Uint64(r.take(8)), binary.BigEndian.Uint64(r.take(8))
		if r.err == nil && p.s.cfg.Archive != nil {
			p.s.cfg.Archive.Hear(newest, part)
		}
	case kindSeen:
		shard := r.shard()
		group := r.take(int(r.byte()))
		if r.err != nil || len(r.b)%32 != 0 || len(r.b) > 32*maxSeen {
			return errFrame
		}
		var hashes []common.Hash
		for ; len(r.b) > 0; r.b = r.b[32:] {
			hashes = append(hashes, common.Hash(r.b[:32]))
		}
		p.later(seq, func(ctx context.Context) ([]byte, error) { return nil, p.s.seenHere(ctx, shard, group, hashes) })
	case kindYield:
		shard, claim := r.shard(), r.claim()
		if r.err != nil {
			return r.err
		}
		p.later(seq, func(context.Context) ([]byte, error) {
			later, err := p.s.yieldHere(shard, claim)
			if err != nil || later == nil {
				return nil, err
			}
			return appendClaim(nil, *later), nil
		})
	case kindHeard:
		p.takeHeard(seq, body)
	default:
		p.answer(seq, errFrame, nil) // of a later version
	}
	return r.err
}

func (p *peer) takeCall(seq uint32, shard int, silent bool, from remote, raw []byte) {
	core := p.s.keepers[shard].current()
	env, err := whisper.DecodeEnvelope(raw)
	switch {
	case core == nil:
		err = errNoOwner
	case err != nil:
	case silent:
		core.server.HandleCall(mute{from.id, from.source}, env)
	default:
		if from.stays {
			p.came(from.id)
		}
		core.server.HandleCall(from, env)
	}
	p.answer(seq, err, nil)
}

func (p *peer) takeSend(seq uint32, r *reader) error {
	id := r.id()
	var envs []*whisper.Envelope
	for len(r.b) > 0 && r.err == nil {
		raw := r.take(int(binary.BigEndian.Uint32(r.take(4))))
		if r.err != nil {
			break
		}
		env, err := whisper.DecodeEnvelope(raw)
		if err != nil {
			return errFrame
		}
		envs = append(envs, env)
	}
	if r.err != nil {
		return r.err
	}
	from := p.s.present.caller(id)
	if from == nil {
		p.answer(seq, errClosed, nil)
		return nil
	}
	p.later(seq, func(ctx context.Context) ([]byte, error) { return nil, from.Send(ctx, envs...) })
	return nil
}
