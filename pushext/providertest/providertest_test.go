package providertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/providertest"
)

// service is a push service and its provider in one: the least that passes.
type service struct {
	mu       sync.Mutex
	devices  int
	scripts  map[string]script
	received map[string][]providertest.Received
}

type script struct {
	fault providertest.Fault
	after time.Duration
}

func (*service) Name() string { return "memory" }

func (*service) Check(addr pushext.Address) error {
	if !strings.HasPrefix(addr.Token, "device-") || len(addr.Token) > 20 || strings.ContainsAny(addr.Token, "\r\n\x00") {
		return errors.New("no such device")
	}
	return nil
}

func (s *service) Push(ctx context.Context, n pushext.Notification) pushext.Verdict {
	s.mu.Lock()
	on := s.scripts[n.Address.Token]
	s.mu.Unlock()
	if on.fault == providertest.Hang {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return pushext.Verdict{Class: pushext.Retry, Reason: "memory timeout"}
	}
	classes := map[providertest.Fault]pushext.Class{
		providertest.None: pushext.Delivered, providertest.Throttled: pushext.RetryAt, providertest.Gone: pushext.TokenDead,
		providertest.Malformed: pushext.MessageBad, providertest.Refused: pushext.ProviderBroken,
	}
	v := pushext.Verdict{Class: classes[on.fault], Reason: "memory " + on.fault.String()}
	if v.Class == pushext.RetryAt {
		v.At = time.Now().Add(on.after)
	}
	if v.Class == pushext.Delivered {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.received[n.Address.Token] = append(s.received[n.Address.Token], providertest.Received{
			Body: slices.Clone(n.Body), CollapseID: n.CollapseID, TTL: n.TTL, Urgent: n.Urgent,
		})
	}
	return v
}

func (s *service) Device() pushext.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices++
	return pushext.Address{Token: fmt.Sprintf("device-%d", s.devices)}
}

func (s *service) Script(addr pushext.Address, f providertest.Fault, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[addr.Token] = script{f, after}
}

func (s *service) Received(addr pushext.Address) []providertest.Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received[addr.Token]
}

func TestTheSuiteCanBePassed(t *testing.T) {
	providertest.Run(t, providertest.Harness{New: func(*testing.T) (pushext.Provider, providertest.Backend) {
		s := &service{scripts: make(map[string]script), received: make(map[string][]providertest.Received)}
		return s, s
	}})
}
