package whisper

import (
	"math"
	"math/bits"
)

// wheel orders the pool's envelopes by expiry in a hierarchical timer wheel:
// six levels of 64 slots cover the 32 bits of an expiry. A slot of level n is
// 64^n seconds wide, and an envelope lies at the level of the highest digit (to
// the base 64) in which its expiry differs from the cursor. Adding, removing,
// expiring and finding what expires last each take constant time, however a
// stranger spreads the expiries.
type wheel struct {
	cursor uint32 // no envelope in the wheel is due before this second
	levels [wheelLevels]wheelLevel
}

type wheelLevel struct {
	used  uint64 // bit n: slot n is not empty
	slots [wheelSlots][]*Envelope
}

const (
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = (32 + wheelBits - 1) / wheelBits
)

// position returns where an envelope with that expiry lies. It depends on the
// cursor, but moves only when advance moves the envelope.
func (w *wheel) position(expiry uint32) (level, slot int) {
	expiry = max(expiry, w.cursor)
	if differ := expiry ^ w.cursor; differ != 0 {
		level = (bits.Len32(differ) - 1) / wheelBits
	}
	return level, digit(expiry, level)
}

func digit(second uint32, level int) int {
	return int(second>>(wheelBits*level)) & (wheelSlots - 1)
}

// add stores e and returns its index in its slot.
func (w *wheel) add(e *Envelope) int {
	level, slot := w.position(e.Expiry)
	l := &w.levels[level]
	l.slots[slot] = append(l.slots[slot], e)
	l.used |= 1 << slot
	return len(l.slots[slot]) - 1
}

// remove takes out the envelope with that expiry and index in its slot. It
// returns the envelope that took the index, or nil if none did.
func (w *wheel) remove(expiry uint32, index int) (moved *Envelope) {
	level, slot := w.position(expiry)
	l := &w.levels[level]
	envelopes := l.slots[slot]
	last := len(envelopes) - 1
	if index != last {
		moved = envelopes[last]
		envelopes[index] = moved
	}
	envelopes[last] = nil
	if l.slots[slot] = envelopes[:last]; last == 0 {
		l.take(slot)
	}
	return moved
}

func (l *wheelLevel) take(slot int) []*Envelope {
	envelopes := l.slots[slot]
	l.slots[slot] = nil
	l.used &^= 1 << slot
	return envelopes
}

// advance moves the cursor to now. It calls expired for the envelopes due before
// now, and moved for those that got a new index. If the clock has gone back, it
// does nothing until the clock has caught up.
func (w *wheel) advance(now uint32, expired func(*Envelope), moved func(e *Envelope, index int)) {
	if now <= w.cursor {
		return
	}
	old := w.cursor
	w.cursor = now
	for level := range w.levels {
		l := &w.levels[level]
		above := wheelBits * (level + 1)
		turned := uint64(old)>>above != uint64(now)>>above
		for used := l.used; used != 0; used &= used - 1 {
			slot := bits.TrailingZeros64(used)
			switch {
			case turned || slot < digit(now, level):
				for _, e := range l.take(slot) {
					expired(e)
				}
			case slot == digit(now, level) && level > 0:
				for _, e := range l.take(slot) {
					if e.Expiry < now {
						expired(e)
					} else {
						moved(e, w.add(e))
					}
				}
			}
		}
	}
}

// after returns the last second of the first slot with envelopes that expire
// after the given second, and a copy of the slot with only those envelopes. The
// copy is empty when nothing is left.
func (w *wheel) after(second uint32) (envelopes []*Envelope, last uint32) {
	for level := range w.levels {
		l := &w.levels[level]
		for used := l.used; used != 0; used &= used - 1 {
			slot := bits.TrailingZeros64(used)
			if last = w.lastSecond(level, slot); last <= second {
				continue
			}
			for _, e := range l.slots[slot] {
				if e.Expiry > second {
					envelopes = append(envelopes, e)
				}
			}
			if len(envelopes) > 0 {
				return envelopes, last
			}
		}
	}
	return nil, math.MaxUint32
}

// lastSecond returns the latest expiry that belongs in a slot.
func (w *wheel) lastSecond(level, slot int) uint32 {
	width := uint64(1) << (wheelBits * level)
	turn := width * wheelSlots
	return uint32(min(uint64(w.cursor)/turn*turn+uint64(slot+1)*width-1, math.MaxUint32))
}

// latest returns an envelope of the last slot in use, or nil if the wheel is empty.
func (w *wheel) latest() *Envelope {
	for level := wheelLevels - 1; level >= 0; level-- {
		if l := &w.levels[level]; l.used != 0 {
			slot := l.slots[bits.Len64(l.used)-1]
			return slot[len(slot)-1]
		}
	}
	return nil
}

// sooner reports whether a lies in an earlier slot than b.
func (w *wheel) sooner(a, b *Envelope) bool {
	levelA, slotA := w.position(a.Expiry)
	levelB, slotB := w.position(b.Expiry)
	return levelA < levelB || levelA == levelB && slotA < slotB
}
