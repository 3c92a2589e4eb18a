package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// keeper reads and writes the device's account in its Store.
type keeper struct {
	store   Store
	account string // the push key that the account is named by, in hexadecimal

	keys []string // open finds the account by these

	mu   sync.Mutex // guards the following; calls take turns
	last []byte     // the text as it was last read or written
}

// open reads the account, or begins it. It writes a new account at once, so that two
// processes that open a new device have the same keys. It looks for the account under
// each of the push keys, in their order.
func (k *keeper) open(ctx context.Context, now time.Time, pushKeys []string) (s *state, err error) {
	k.account, k.keys = "", pushKeys
	err = k.exclusively(ctx, func(held []byte, _ bool) (*state, error) {
		if held == nil {
			s, err = newState(now)
			return s, err
		}
		s, err = readState(held)
		return s, err
	})
	return s, err
}

// sync takes over what another process did to the account. If write is set, it then
// writes the result. mu guards s.
func (k *keeper) sync(ctx context.Context, mu *sync.Mutex, s *state, write bool) error {
	// A reply that came is saved even if nobody waits for it any more.
	return k.exclusively(context.WithoutCancel(ctx), func(held []byte, moved bool) (*state, error) {
		var base, theirs *state
		if moved && held != nil {
			all, err := readAccounts(k.last, k.account)
			if err != nil {
				return nil, err
			}
			if base, err = readState(all.Accounts[k.account]); err != nil {
				return nil, err
			}
			if theirs, err = readState(held); err != nil {
				return nil, err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if theirs != nil {
			if err := s.merge(base, theirs); err != nil {
				return nil, err
			}
		}
		if !write {
			return nil, nil
		}
		return s.clone()
	})
}

// exclusively hands change the account in the store, nil if there is none, and tells it
// whether the store differs from what this keeper last read or wrote. It writes the
// account that change returns, if any. No other process writes meanwhile, if the store
// can lock.
func (k *keeper) exclusively(ctx context.Context, change func(held []byte, moved bool) (*state, error)) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if shared, ok := k.store.(SharedStore); ok {
		unlock, err := shared.Lock(ctx)
		if err != nil {
			return fmt.Errorf("client: locking device state: %w", err)
		}
		defer unlock()
	}
	text, err := k.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("client: reading device state: %w", err)
	}
	if k.account == "" {
		all, err := readAccounts(text, k.keys[0])
		if err != nil {
			return err
		}
		k.account = all.named(k.keys)
	}
	all, err := readAccounts(text, k.account)
	if err != nil {
		return err
	}
	s, err := change(all.Accounts[k.account], !bytes.Equal(text, k.last))
	if err != nil {
		return err
	}
	if s == nil {
		k.last = text
		return nil
	}
	own, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("client: device state: %w", err)
	}
	all.Accounts[k.account] = own
	next, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return fmt.Errorf("client: device state: %w", err)
	}
	if !bytes.Equal(next, text) {
		if err := k.store.Save(ctx, next); err != nil {
			return fmt.Errorf("client: keeping device state: %w", err)
		}
	}
	k.last = next
	return nil
}

// clone returns a copy that shares no mutable data.
func (s *state) clone() (*state, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("client: device state: %w", err)
	}
	return readState(text)
}
