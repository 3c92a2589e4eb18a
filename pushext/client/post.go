package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/mailserver/mailclient"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

const (
	// postTTL is how long a posted envelope lives on the network, in seconds.
	postTTL = 60
	// postLook is how long a device waits before it checks whether the mailserver has
	// archived what it was sent, and by how much each later wait grows.
	postLook = 100 * time.Millisecond
	// maxPostLooks is how often it checks before it sends again.
	maxPostLooks = 6
)

// errNotArchived says that the mailserver was sent an envelope but does not have it.
var errNotArchived = errors.New("client: the mailserver has not archived the message yet")

// Post sends a message to the network through the mailserver, and returns when the
// mailserver has archived it. sealed is what whisper.Seal made; it needs no proof of
// work. The message goes out in an envelope with a new time and the work that the server
// asks for, and Post returns the hash of that envelope. A message may therefore be
// posted again if it is unknown whether it arrived: devices that have it take the second
// for a copy.
//
// This device is not woken for it. Unless wake is set, the user's other devices that
// share a group with it are not woken either.
func (d *Device) Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (hash common.Hash, err error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	defer done()
	err = d.persist(ctx, "post", func() (bool, error) {
		limited, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errSilent)
		defer cancel()
		again, h, err := d.postOnce(limited, sealed, wake)
		hash = h
		return again, blame(ctx, limited, err)
	})
	return hash, errors.Join(err, d.save(ctx))
}

func (d *Device) postOnce(ctx context.Context, sealed *whisper.Envelope, wake bool) (again bool, hash common.Hash, err error) {
	s, err := d.connect(ctx)
	if err != nil {
		return true, hash, err
	}
	server, err := s.mailserver(ctx)
	if err != nil {
		return true, hash, err
	}
	e, err := whisper.Renew(ctx, sealed, whisper.Draft{TTL: postTTL, PoW: server.PoW, Now: d.now()})
	if err != nil {
		return false, hash, fmt.Errorf("client: post: %w", err)
	}
	hash = e.Hash()
	// The receipt comes before the envelope, so nobody is woken in between.
	var receipt pushwire.RequestBody = &pushwire.Seen{Hashes: []common.Hash{hash}}
	if wake {
		// The receipt is for this device alone. The server does not have the envelope
		// yet; asking for it is the receipt.
		receipt = &pushwire.Fetch{Hashes: []common.Hash{hash}}
	}
	x, err := d.tryOnce(ctx, receipt)
	if err != nil {
		d.hangUp()
		return true, hash, err
	}
	if d.again(x.reply) {
		return true, hash, x.reply.Error()
	}
	// A device that is not registered is not woken.
	if err := x.reply.Error(); err != nil && !IsRefused(err, pushwire.NotRegistered) && !IsRefused(err, pushwire.Unconfirmed) {
		return false, hash, fmt.Errorf("client: post: %w", err)
	}
	if s, err = d.connect(ctx); err != nil {
		return true, hash, err
	}
	archived, err := s.road.post(ctx, e)
	switch {
	case errors.Is(err, errPostRefused):
		return false, hash, fmt.Errorf("client: post: %w", err)
	case err != nil:
		d.hangUp()
		return true, hash, fmt.Errorf("client: post: %w", err)
	case archived:
		return false, hash, nil
	}
	for look := range maxPostLooks {
		if err := wait(ctx, time.Duration(look+1)*postLook); err != nil {
			return true, hash, errors.Join(errNotArchived, err)
		}
		found := false
		linked, cancel := s.during(ctx)
		_, err := s.mail.Collect(linked, server, mailclient.Hashes(hash), func(page []*whisper.Envelope) error {
			found = found || len(page) > 0
			return nil
		})
		cancel()
		if err != nil {
			return true, hash, fmt.Errorf("client: post: %w", err)
		}
		if found {
			return false, hash, nil
		}
	}
	return true, hash, errNotArchived
}
