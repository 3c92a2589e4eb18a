package registry

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/vault"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// goleveldb returns its buffers for a second after it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

var (
	shelfSecret = bytes.Repeat([]byte{7}, vault.DiskKeySize)
	shelfNow    = time.Unix(1e9, 0)
)

// box is a provider, by its name, that takes any address; a registry pushes nothing.
type box string

func (b box) Name() string              { return string(b) }
func (box) Check(pushext.Address) error { return nil }
func (box) Push(context.Context, pushext.Notification) pushext.Verdict {
	return pushext.Verdict{Class: pushext.Delivered}
}

// linkedBox is a box whose addresses are links.
type linkedBox struct{ box }

func (linkedBox) Heard(pushext.Address, pushext.Link) bool { return false }

// boxed is a route to the box "post".
func boxed(token string) pushwire.Route {
	return pushwire.Route{Provider: "post", Address: []byte(token)}
}

// noEnds is told of registrations that end, and keeps nothing of them.
type noEnds struct{}

func (noEnds) Record(id registration.ID) []byte                    { return idKey('d', id) }
func (noEnds) Started(registration.ID, uint64, registration.Start) {}
func (noEnds) Died(registration.ID, string)                        {}
func (noEnds) Gone(registration.ID, string)                        {}

// source is one of as many networks as there are.
func source(i int) whisper.Source { return whisper.Source(fmt.Sprintf("net %d", i)) }

// ownChannels are n channels that only one registration has.
func ownChannels(n, who int) []pushwire.Channel {
	channels := make([]pushwire.Channel, n)
	for i := range channels {
		channels[i].Topic = whisper.Topic{byte(i), byte(i >> 8), byte(who), byte(who >> 8)}
	}
	return channels
}

// codeOf tells the code of a refusal, OK for no error.
func codeOf(t *testing.T, err error) pushwire.Code {
	t.Helper()
	if err == nil {
		return pushwire.OK
	}
	var refused *registration.Refusal
	require.ErrorAs(t, err, &refused)
	return refused.Code
}
