package group

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Post is client.Device.Post. What was sealed for a group (Book.Chat) goes to its present
// members, and once more to each member it mentions. Posted again, it is the same
// message.
func (d *Device) Post(ctx context.Context, sealed *whisper.Envelope, wake bool) (common.Hash, error) {
	for _, g := range d.book.Groups() {
		c := g.ID.chat(g.Name)
		if c.Topic != sealed.Topic {
			continue
		}
		m, err := sealed.OpenSymmetric(c.Key)
		if err != nil {
			continue
		}
		return d.say(ctx, g.ID, sealed.Message(), m.Payload, d.mentioned(g.ID, m.Payload), wake)
	}
	return d.rung.Post(ctx, sealed, wake)
}

// say sends a message to a group, and rings the members it mentions.
func (d *Device) say(ctx context.Context, group ID, id common.Hash, body []byte, mentioned []*ecdsa.PublicKey, wake bool) (common.Hash, error) {
	done, err := d.begin(ctx)
	if err != nil {
		return common.Hash{}, err
	}
	defer done()
	if len(body) > MaxBody {
		return common.Hash{}, fmt.Errorf("group: a message of %d bytes (> %d)", len(body), MaxBody)
	}
	at, f, err := d.book.writing(group)
	if err != nil {
		return common.Hash{}, err
	}
	f.ID, f.Body = id, body
	now := time.Now()
	var to []Key
	for _, key := range mentioned {
		if k := KeyOf(key); k != d.book.me && !slices.Contains(to, k) {
			to = append(to, k)
		}
	}
	if err := d.book.ringing(ctx, group, id, body, to, now); err != nil {
		return common.Hash{}, err
	}
	f.Kind = kindMessage
	device := d.reader
	if info, err := d.book.Group(group); err == nil && info.Wake == pushwire.Every {
		device = d.rung // that device reads it, and must not be woken for what we write
	}
	hash, err := d.post(ctx, device, at, &f, now, wake)
	if err != nil {
		return hash, err
	}
	for _, k := range to {
		if err := d.ring(ctx, group, kindMention, id, body, k, now); err != nil {
			return hash, err
		}
	}
	return hash, nil
}

// ring sends a frame to the place where a member is rung. It does not ring anybody else.
func (d *Device) ring(ctx context.Context, group ID, kind uint64, id common.Hash, body []byte, to Key, now time.Time) error {
	_, f, err := d.book.writing(group)
	if err != nil {
		return err
	}
	at, ok := d.book.ringOf(group, to)
	if !ok {
		return nil
	}
	f.Kind, f.ID, f.Body, f.To = kind, id, body, to[:]
	_, err = d.post(ctx, d.reader, at, &f, now, true)
	return err
}

func (d *Device) post(ctx context.Context, device Client, at place, f *frame, now time.Time, wake bool) (common.Hash, error) {
	chat := client.Chat{Topic: at.topic, Key: at.key[:]}
	sealed, err := whisper.Seal(ctx, client.Compose(chat, f.encode(), d.book.identity, now))
	if err != nil {
		return common.Hash{}, fmt.Errorf("group: %w", err)
	}
	return device.Post(ctx, sealed, wake)
}
