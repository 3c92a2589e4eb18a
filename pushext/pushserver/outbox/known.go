package outbox

import "whisperpush/pushext/pushserver/registration"

// pageBits is the binary logarithm of the number of registrations on a page of known.
const pageBits = 15

// known tells which registrations may have a record on disk, so that a device's first
// wake-up need not look for one that is not there. It takes a bit for each, because IDs
// are given out one after the other.
type known struct {
	pages map[registration.ID]*[1 << pageBits / 64]uint64
	whole bool // it has all records that there were when the outbox began
}

// add notes a record. One that is deleted stays noted: it costs a look, and the ID is
// not given out again.
func (k *known) add(id registration.ID) {
	page := k.pages[id>>pageBits]
	if page == nil {
		if k.pages == nil {
			k.pages = make(map[registration.ID]*[1 << pageBits / 64]uint64)
		}
		page = new([1 << pageBits / 64]uint64)
		k.pages[id>>pageBits] = page
	}
	bit := id & (1<<pageBits - 1)
	page[bit/64] |= 1 << (bit % 64)
}

// has reports whether a registration may have a record.
func (k *known) has(id registration.ID) bool {
	if !k.whole {
		return true
	}
	page := k.pages[id>>pageBits]
	bit := id & (1<<pageBits - 1)
	return page != nil && page[bit/64]>>(bit%64)&1 != 0
}
