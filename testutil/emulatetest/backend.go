// Package emulatetest lets the providers' conformance suite drive an emulator.
package emulatetest

import (
	"fmt"
	"sync"
	"time"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/providertest"
)

// Backend adapts an emulator to providertest.Backend.
type Backend struct {
	Service *emulate.Service
	// NewDevice registers a device and returns its address, and its token at the
	// emulator.
	NewDevice func() (addr pushext.Address, token string)
	// Answers are the service's answers for the faults other than Hang and Reset.
	Answers map[providertest.Fault]emulate.Answer

	mu     sync.Mutex // guards the following field
	tokens map[string]string
}

var _ providertest.Backend = (*Backend)(nil)

// Device registers a device.
func (b *Backend) Device() pushext.Address {
	addr, token := b.NewDevice()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens == nil {
		b.tokens = make(map[string]string)
	}
	b.tokens[addr.Token] = token
	return addr
}

func (b *Backend) token(addr pushext.Address) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens[addr.Token]
}

// Script makes the emulator answer every push to addr with a fault.
func (b *Backend) Script(addr pushext.Address, f providertest.Fault, after time.Duration) {
	token := b.token(addr)
	b.Service.Script(token) // removes the previous script
	if f == providertest.None {
		return
	}
	a, ok := b.Answers[f]
	switch f {
	case providertest.Hang:
		a = emulate.Answer{Hang: true}
	case providertest.Reset:
		a = emulate.Answer{Reset: true}
	case providertest.Throttled:
		a.RetryAfter = fmt.Sprint(int(after / time.Second))
	default:
		if !ok {
			panic("emulatetest: no answer for " + f.String()) // the harness must say which fault it lacks
		}
	}
	a.Times = -1
	b.Service.Script(token, a)
}

// Received lists what the emulator delivered to addr.
func (b *Backend) Received(addr pushext.Address) (list []providertest.Received) {
	token := b.token(addr)
	for _, p := range b.Service.Received() {
		if p.Token == token {
			list = append(list, providertest.Received{Body: p.Body, CollapseID: p.CollapseID, TTL: p.TTL, Urgent: p.Urgent})
		}
	}
	return list
}
