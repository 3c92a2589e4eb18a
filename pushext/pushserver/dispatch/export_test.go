package dispatch

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/whisper"
)

// Scene is a rig for tests with real providers, which import this package.
type Scene struct {
	rig    *rig
	topics map[uint64]whisper.Topic
}

// NewScene starts delivery through a provider to devices 1, 2, 3 …, one for each
// token, whose payloads are not sealed. It stops with the test.
func NewScene(t *testing.T, cfg Delivery, p pushext.Provider, tokens ...string) *Scene {
	s := &Scene{newRig(t, cfg, p), make(map[uint64]whisper.Topic)}
	for i, token := range tokens {
		s.topics[uint64(i+1)] = s.rig.device(registration.ID(i+1), p.Name()+" "+token)
	}
	s.rig.start()
	t.Cleanup(s.rig.stop)
	return s
}

// Archive archives an envelope for a device.
func (s *Scene) Archive(device uint64) common.Hash { return s.rig.log.Archive(s.topics[device]) }

// Fetched is a device's fetch of envelopes.
func (s *Scene) Fetched(device uint64, hashes []common.Hash) error {
	return s.rig.box.Fetched(registration.ID(device), hashes, false)
}

// Dismiss has a device remove what was seen elsewhere.
func (s *Scene) Dismiss(device uint64, hashes ...common.Hash) {
	s.rig.dispatcher.Dismiss(registration.ID(device), hashes)
}
