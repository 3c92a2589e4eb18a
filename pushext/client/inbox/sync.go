package inbox

import (
	"cmp"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
)

// The payload of a message in the sync chat, an RLP list that may grow at its end:
//
//	[version = 1, [mark 8, …], [[chat 12, until, at, device], …], [[sender 33, on, at, device], …]]
//
// The marks are the first bytes of Preview.Message of messages that were read. at is in
// Unix milliseconds. Of two changes of one thing the later counts; of two at the same
// time, the one of the device with the greater number.
const (
	syncVersion    = 1
	maxSyncMarks   = 512 // in one message
	maxSyncChanges = 64
	// maxAhead is how far in the future a change may lie, by the clock of the device that
	// made it, and still count.
	maxAhead = 24 * time.Hour
)

type syncMessage struct {
	Version uint64
	Read    []mark
	Mutes   []syncMute
	Blocks  []syncBlock
	Rest    []rlp.RawValue `rlp:"tail"`
}

type syncMute struct {
	Chat       [12]byte
	Until      uint64
	At, Device uint64
	Rest       []rlp.RawValue `rlp:"tail"`
}

type syncBlock struct {
	Sender     [33]byte
	On         bool
	At, Device uint64
	Rest       []rlp.RawValue `rlp:"tail"`
}

func (s *syncMessage) add(r record) {
	switch r := r.(type) {
	case *muteRecord:
		s.Mutes = append(s.Mutes, syncMute{Chat: r.Chat, Until: r.Until, At: r.Stamp.At, Device: r.Stamp.Device})
	case *blockRecord:
		s.Blocks = append(s.Blocks, syncBlock{Sender: [33]byte(r.Sender), On: r.On, At: r.Stamp.At, Device: r.Stamp.Device})
	}
}

func (s *syncMessage) encode() []byte {
	s.Version = syncVersion
	b, err := rlp.EncodeToBytes(s)
	if err != nil {
		panic("inbox: internal error: " + err.Error()) // no message fails
	}
	return b
}

// heard takes over what another device of the user said. What makes no sense is dropped:
// it is from a later version, or others also have the key of the sync chat.
func (i *Inbox) heard(t *change, payload []byte, now time.Time) {
	var s syncMessage
	if err := rlp.DecodeBytes(payload, &s); err != nil || s.Version != syncVersion {
		i.logger.Warn("a message in the chat of the user's devices cannot be read", "bytes", len(payload))
		return
	}
	latest := uint64(now.Add(maxAhead).UnixMilli())
	if len(s.Read) > 0 {
		t.add(&readMessagesRecord{s.Read[:min(len(s.Read), maxSyncMarks)]})
	}
	for _, m := range s.Mutes[:min(len(s.Mutes), maxSyncChanges)] {
		if m.At <= latest {
			t.add(&muteRecord{m.Chat, m.Until, stamp{m.At, m.Device}, false})
		}
	}
	for _, b := range s.Blocks[:min(len(s.Blocks), maxSyncChanges)] {
		if b.At <= latest && decompressed(b.Sender[:]) != nil {
			t.add(&blockRecord{b.Sender[:], b.On, stamp{b.At, b.Device}, false})
		}
	}
}

func stampOrder(a, b stamp) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device))
}
