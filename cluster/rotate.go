package cluster

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

const (
	// takenPatience is how long an exchange waits for all nodes to take what was written. A node
	// that has not taken it by then is no longer counted as alive, and takes it before it is again.
	takenPatience = 2 * postgres.LeaseLife
	// takenLook is how often that is checked.
	takenLook = 50 * time.Millisecond
	// exchangeTries is how often an exchange is attempted when nodes keep joining.
	exchangeTries = 5
)

// OverlapError says that the push key before the current one is still answered to.
type OverlapError struct{ Until time.Time }

func (e *OverlapError) Error() string { return "the former push key is still answered to" }

// RotatePushKey makes a new push key for all nodes. The key before it is still answered to for the
// length of overlap; 0 refuses it at once, because others may know it. During an overlap, 0 ends
// that overlap and makes no key; anything else is an OverlapError.
//
// The exchange takes two steps, each a write to the database that all nodes have taken before the
// next one begins. First they answer to the next key; then it becomes the current one. So no device
// ever learns a key from one node that another node does not know. After an interruption between
// the steps, the next call goes on from there, at any node. If a node is alive whose program does
// not know this exchange, nothing changes, and the error says so.
func (s *Server) RotatePushKey(ctx context.Context, overlap time.Duration) error {
	s.rotating.Lock()
	defer s.rotating.Unlock()
	if err := s.refresh(ctx); err != nil {
		return fmt.Errorf("the push key is not exchanged: %w", err)
	}
	if until, ok := s.Keys().Overlap(time.Now()); ok {
		if overlap > 0 {
			return &OverlapError{until}
		}
		return s.change(ctx, func(k pushserver.Keys) (pushserver.Keys, error) { return k.EndOverlap(time.Now()), nil })
	}
	if s.Keys().Next == nil {
		next, err := crypto.GenerateKey()
		if err != nil {
			return fmt.Errorf("make the next push key: %w", err)
		}
		if err := s.change(ctx, func(k pushserver.Keys) (pushserver.Keys, error) {
			k.Next = next
			return k, nil
		}); err != nil {
			return err
		}
	} else if err := s.awaitTaken(ctx); err != nil { // by nodes that have joined since the attempt before
		return err
	}
	return s.change(ctx, func(k pushserver.Keys) (pushserver.Keys, error) {
		if k.Next == nil {
			return k, postgres.ErrNewKeys
		}
		return k.Succeed(k.Next, time.Now(), overlap)
	})
}

// change writes other push keys, takes them, and waits until all nodes have.
func (s *Server) change(ctx context.Context, to func(pushserver.Keys) (pushserver.Keys, error)) error {
	for try := 1; ; try++ {
		err := s.write(ctx, to)
		if err == nil {
			return s.awaitTaken(ctx)
		}
		if try == exchangeTries || !errors.Is(err, errJoined) {
			return fmt.Errorf("the push key is not exchanged: %w", err)
		}
	}
}

// errJoined says that a node has joined that was not asked yet.
var errJoined = errors.New("nodes join all the time")

// write writes the push keys of the next version, and takes them.
func (s *Server) write(ctx context.Context, to func(pushserver.Keys) (pushserver.Keys, error)) error {
	ring := s.ring.Load()
	keys, err := to(ring.keys)
	if err != nil {
		return err
	}
	version := ring.version + 1
	sealed, err := s.sealKeys(version, keys)
	if err != nil {
		return err
	}
	next, err := keyringOf(version, keys, s.cfg.Push.DiskKey, nil)
	if err != nil {
		return err
	}
	known, err := s.askMembers(ctx)
	if err != nil {
		return err
	}
	err = s.cfg.DB.SetKeys(ctx, postgres.SharedKeys{Version: version, Mark: next.mark, Sealed: sealed}, known)
	if errors.Is(err, postgres.ErrNewKeys) {
		if shared, readErr := s.cfg.DB.Keys(ctx); readErr == nil && shared.Version == ring.version {
			return errJoined
		}
	}
	if err != nil {
		return err
	}
	return s.takeKeys(version, keys)
}

// askMembers returns the nodes that are alive. It fails unless all of them know exchanges of the
// push key.
func (s *Server) askMembers(ctx context.Context) (known map[int64]bool, err error) {
	alive, err := s.cfg.DB.Members(ctx)
	if err != nil {
		return nil, err
	}
	known = map[int64]bool{s.shards.Node(): true}
	for _, m := range alive {
		if known[m.Node] {
			continue
		}
		to, err := s.peers.to(ctx, m.Address)
		if err == nil {
			err = to.knowsKeys(ctx)
		}
		switch {
		case errors.Is(err, errRefused):
			return nil, fmt.Errorf("the node at %s runs a program that knows no exchange of a push key that nodes share; upgrade it first", m.Address)
		case err != nil:
			return nil, fmt.Errorf("the node at %s does not answer, and all nodes have to know of it; try again when it does, or when it has been stopped for %s", m.Address, postgres.LeaseLife)
		}
		known[m.Node] = true
	}
	return known, nil
}

// awaitTaken returns when every node that is alive has taken the current push keys.
func (s *Server) awaitTaken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, takenPatience)
	defer cancel()
	mark := string(s.ring.Load().mark)
	tick := time.NewTicker(takenLook)
	defer tick.Stop()
	signal(s.soon) // this node's row counts too
	for {
		alive, err := s.cfg.DB.Members(ctx)
		if err == nil {
			late := false
			for _, m := range alive {
				late = late || string(m.Mark) != mark
			}
			if !late {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the push keys are written, and not all nodes have taken them yet; run the command again")
		case <-tick.C:
		}
	}
}

// HeardWith does what pushserver.Server's does, over the shards of all nodes.
func (s *Server) HeardWith(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error) {
	heard, all, err = s.heardHere(ctx, pushKey)
	if err != nil {
		return 0, 0, err
	}
	for _, address := range s.neighbours() {
		to, err := s.peers.to(ctx, address)
		if err != nil {
			return 0, 0, fmt.Errorf("another node does not tell of its registrations: %w", err)
		}
		some, of, err := to.heardWith(ctx, pushKey)
		if err != nil {
			return 0, 0, fmt.Errorf("another node does not tell of its registrations: %w", err)
		}
		heard, all = heard+some, all+of
	}
	return heard, all, nil
}

// heardHere is HeardWith over this node's shards.
func (s *Server) heardHere(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error) {
	for _, c := range s.cores() {
		some, of, err := c.server.HeardWith(ctx, pushKey)
		if err != nil {
			return 0, 0, err
		}
		heard, all = heard+some, all+of
	}
	return heard, all, nil
}

// knowsKeys returns nil if the other node takes shared push keys, and errRefused if its program is
// too old for them.
func (p *peer) knowsKeys(ctx context.Context) error {
	_, err := p.ask(ctx, kindHeard, nil, replyTimeout)
	return err
}

// heardWith makes the other node count its registrations.
func (p *peer) heardWith(ctx context.Context, pushKey *ecdsa.PublicKey) (heard, all int, err error) {
	b, err := p.ask(ctx, kindHeard, crypto.CompressPubkey(pushKey), sendTimeout)
	if err != nil {
		return 0, 0, err
	}
	r := reader{b: b}
	heard, all = int(binary.BigEndian.Uint64(r.take(8))), int(binary.BigEndian.Uint64(r.take(8)))
	return heard, all, r.err
}

// takeHeard answers kindHeard.
func (p *peer) takeHeard(seq uint32, body []byte) {
	if len(body) == 0 {
		p.answer(seq, nil, nil)
		return
	}
	key, err := crypto.DecompressPubkey(body)
	if err != nil {
		p.answer(seq, errFrame, nil)
		return
	}
	p.later(seq, func(ctx context.Context) ([]byte, error) {
		heard, all, err := p.s.heardHere(ctx, key)
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(heard)), uint64(all)), err
	})
}
