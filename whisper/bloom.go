package whisper

// BloomSize is the length of a bloom filter in bytes (EIP-627, "Bloom Filter").
const BloomSize = 64

// Bloom tells which topics a node wants without naming them: each topic sets up
// to three of its 512 bits.
type Bloom [BloomSize]byte

// FullBloom returns the filter of a node that wants every topic.
func FullBloom() Bloom {
	var b Bloom
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// Bloom returns the filter of one topic. Bit number j (of three) is
// topic[j], plus 256 if bit j of topic[3] is set.
//
// EIP-627 intends the three bits to be combined, but the nodes in the field
// assign whole bytes: when two bits fall into the same byte, only the later
// one stays. Light nodes therefore advertise the smaller filter, and a node
// that required the missing bit would not send them those topics. So the
// smaller filter is the wire format, and Bloom returns it.
func (t Topic) Bloom() Bloom {
	var b Bloom
	for j := range 3 {
		bit := int(t[j])
		if t[3]&(1<<j) != 0 {
			bit += 256
		}
		b[bit/8] = 1 << (bit % 8)
	}
	return b
}

// Covers tells whether every bit of o is set in b, that is, whether a node that
// advertises b wants an envelope whose topic has the filter o.
func (b Bloom) Covers(o Bloom) bool {
	for i := range b {
		if o[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}

// Merge adds every bit of o to b.
func (b *Bloom) Merge(o Bloom) {
	for i := range b {
		b[i] |= o[i]
	}
}
