package registration

// UnionShards is how many shards a cluster has. Stores that were made of shards, or are to be divided, depend on it.
const UnionShards = 16

// Shard says which part of all registrations a server holds, if it is not all of them.
type Shard struct {
	// Number is the shard's, below Count, which is how many there are. An id is
	// congruent to Number modulo Count, so that no two shards give out the same one.
	Number, Count int
	// Others are the other shards.
	Others Others
	// Hold returns when the server may do something outside of its store, such as wake a
	// device, or the error of why it never may again. It is called by many goroutines.
	Hold func() error
}

// Others are the shards that hold what one does not, as far as registrations of several
// shards have to do with each other. Its methods are called concurrently; Values may be
// called with locks held, the others may not block.
type Others interface {
	// Values returns what the other shards have on disk under keys that begin with
	// prefix, at most so many of each shard.
	Values(prefix []byte, most int) ([][]byte, error)
	// Claimed says that there is a new Claim on disk.
	Claimed()
	// Seen says that a device has seen envelopes, of which others are to be told.
	Seen()
}

// Claim is an address that a registration of a shard has proved, which no registration
// elsewhere owns any more from then on.
type Claim struct {
	Address [16]byte // its fingerprint
	At      uint64   // Unix milliseconds
	Shard   int      // whose it is
}

// Before reports whether a claim is older than another one to the same address, which
// then has it.
func (c Claim) Before(other Claim) bool {
	return c.At < other.At || c.At == other.At && c.Shard < other.Shard
}
