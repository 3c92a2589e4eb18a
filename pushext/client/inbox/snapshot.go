package inbox

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
)

// The sets of a marksRecord.
const (
	setGone = iota
	setEarly
	setActions
	setSync
)

func (m *model) set(which uint64) *marks {
	switch which {
	case setGone:
		return &m.gone
	case setEarly:
		return &m.early
	case setActions:
		return &m.actions
	case setSync:
		return &m.sync
	}
	return new(marks) // a set of a later version
}

func (r *marksRecord) apply(m *model) {
	if set := m.set(r.Set); set.set != nil {
		for _, k := range r.Marks {
			set.add(k)
		}
	}
}

// records returns the records that rebuild the model.
func (m *model) records() [][]byte {
	var all [][]byte
	add := func(r record) { all = append(all, encodeRecord(r)) }
	add(&deviceRecord{m.device})
	for which := uint64(setGone); which <= setSync; which++ {
		for part := range slices.Chunk(m.set(which).list, 4096) {
			add(&marksRecord{which, part})
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.mutes), func(a, b client.ChatID) int { return bytes.Compare(a[:], b[:]) }) {
		r := m.mutes[id]
		_, here := m.stamps[r.stamp]
		add(&muteRecord{id, r.until, r.stamp, here})
	}
	for _, sender := range slices.Sorted(maps.Keys(m.blocks)) {
		r := m.blocks[sender]
		_, here := m.stamps[r.stamp]
		add(&blockRecord{[]byte(sender), r.on, r.stamp, here})
	}
	entries := slices.SortedFunc(maps.Values(m.entries), func(a, b *entry) int { return cmp.Compare(a.order, b.order) })
	for _, e := range entries {
		add(&e.messageRecord)
	}
	var ghosts []common.Hash
	for hash := range m.ghosts {
		ghosts = append(ghosts, hash)
	}
	slices.SortFunc(ghosts, common.Hash.Cmp)
	for part := range slices.Chunk(ghosts, 1024) {
		add(&displayRecord{part, displayed})
	}
	for _, u := range m.unopened {
		add(&unopenedRecord{u.came, u.Raw()})
	}
	for _, o := range m.drafts {
		add(&o.draftRecord)
		if o.sealed != nil {
			add(&sealedRecord{o.ID, o.sealed.Raw()})
		}
	}
	add(&channelsRecord{Told: !m.channels}) // the mutes above have changed it
	var owed []common.Hash
	for _, k := range m.tell.list {
		owed = append(owed, m.telling[k])
	}
	for part := range slices.Chunk(owed, 4096) {
		add(&owedRecord{part})
	}
	for _, f := range m.failures {
		add(&draftRecord{ID: f.ID, Chat: f.Chat, Payload: f.Payload})
		add(&postedRecord{f.ID, f.Reason})
	}
	add(&m.counts)
	return all
}
