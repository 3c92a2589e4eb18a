package shh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"

	"whisperpush/whisper"
)

const (
	// maxFilters bounds the filters and subscriptions of all callers: each costs an attempt to open every
	// envelope that has its topic.
	maxFilters = 4096
	// filterBuffer is how many messages wait for one reader; the oldest goes first.
	filterBuffer = 1024
	// filterIdle is how long a filter lives that nobody polls.
	filterIdle = 5 * time.Minute
)

var (
	errNoSuchFilter   = errors.New("filter not found")
	errTooManyFilters = fmt.Errorf("there are %d filters already; delete some", maxFilters)
	errClosed         = errors.New("the node is stopping")
)

// Criteria say which messages a filter or a subscription is for. What is left out, or an empty string or 0x, is
// not given.
type Criteria struct {
	SymKeyID     string          `json:"symKeyID"`     // id of the symmetric key; exactly one of this and PrivateKeyID
	PrivateKeyID string          `json:"privateKeyID"` // id of the key pair that is written to
	Sig          hexutil.Bytes   `json:"sig"`          // only messages this public key signed, 65 bytes
	MinPow       float64         `json:"minPow"`       // least proof of work
	Topics       []whisper.Topic `json:"topics"`       // at least one with a symmetric key
	AllowP2P     bool            `json:"allowP2P"`     // direct messages from trusted peers too
}

// filter is a subscription that waits to be polled.
type filter struct {
	sub  *whisper.Subscription
	idle *time.Timer // removes the filter
}

func (f *filter) close() {
	f.idle.Stop()
	f.sub.Close()
}

// subscribe checks the criteria and listens.
func (a *API) subscribe(c Criteria) (*whisper.Subscription, error) {
	f := whisper.Filter{Topics: c.Topics, MinPoW: c.MinPow, AllowDirect: c.AllowP2P}
	if (c.SymKeyID == "") == (c.PrivateKeyID == "") {
		return nil, errOneKey
	}
	var err error
	if c.SymKeyID != "" {
		if f.Key, err = a.keys.symmetricKey(c.SymKeyID); err != nil {
			return nil, err
		}
	} else if f.Identity, err = a.keys.pair(c.PrivateKeyID); err != nil {
		return nil, err
	}
	if len(c.Sig) > 0 {
		if f.From, err = crypto.UnmarshalPubkey(c.Sig); err != nil {
			return nil, errInvalidSigner
		}
	}
	return a.node.Subscribe(f, filterBuffer)
}

// NewMessageFilter starts to collect messages and returns the id to ask for them by.
func (a *API) NewMessageFilter(_ context.Context, c Criteria) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return "", errClosed
	}
	if len(a.filters) >= maxFilters {
		return "", errTooManyFilters
	}
	sub, err := a.subscribe(c)
	if err != nil {
		return "", err
	}
	id := newID()
	a.filters[id] = &filter{sub: sub, idle: time.AfterFunc(filterIdle, func() { a.removeFilter(id) })}
	return id, nil
}

// GetFilterMessages returns the messages that came since it was last called.
func (a *API) GetFilterMessages(_ context.Context, id string) ([]*Message, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, ok := a.filters[id]
	if !ok {
		return nil, errNoSuchFilter
	}
	f.idle.Reset(filterIdle)
	messages := []*Message{}
	for {
		select {
		case received, open := <-f.sub.C():
			if !open {
				return messages, nil
			}
			messages = append(messages, newMessage(received))
		default:
			return messages, nil
		}
	}
}

// DeleteMessageFilter ends a filter.
func (a *API) DeleteMessageFilter(_ context.Context, id string) (bool, error) {
	if !a.removeFilter(id) {
		return false, errNoSuchFilter
	}
	return true, nil
}

func (a *API) removeFilter(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, ok := a.filters[id]
	if ok {
		f.close()
		delete(a.filters, id)
	}
	return ok
}

// Messages is shh_subscribe("messages", criteria): it sends each message as it comes.
func (a *API) Messages(ctx context.Context, c Criteria) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	if c.SymKeyID != "" && len(c.Topics) == 0 { // a filter may do without, as geth's
		return nil, errNoTopics
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if a.subscriptions >= maxFilters {
		return nil, errTooManyFilters
	}
	sub, err := a.subscribe(c)
	if err != nil {
		return nil, err
	}
	a.subscriptions++
	feed := notifier.CreateSubscription()
	a.feeds.Go(func() {
		a.feed(notifier, feed, sub)
		a.mu.Lock()
		a.subscriptions--
		a.mu.Unlock()
	})
	return feed, nil
}

// feed sends what sub receives until the caller leaves or the API closes.
func (a *API) feed(notifier *rpc.Notifier, feed *rpc.Subscription, sub *whisper.Subscription) {
	defer sub.Close()
	for {
		select {
		case received, open := <-sub.C():
			if !open {
				return
			}
			if err := notifier.Notify(feed.ID, newMessage(received)); err != nil {
				a.logger.Debug("a subscriber to messages is gone", "err", err)
				return
			}
		case <-feed.Err():
			return
		case <-a.quit:
			return
		}
	}
}
