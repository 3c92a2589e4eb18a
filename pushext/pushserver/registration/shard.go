package registration

// UnionShards is the number of shards of a cluster. Stores that were made of shards, or are to be divided, depend on
// it.
const UnionShards = 16

// Shard says which part of the registrations a server holds, if it does not hold all.
type Shard struct {
	// Number is the shard's number, and Count the number of shards. An id is
	// congruent to Number modulo Count, so that no two shards give out the same id.
	Number, Count int
	// Others are the other shards.
	Others Others
	// Hold returns nil once the server may act outside its store, for example wake a
	// device, or the error that says why it never may again. It is called by many
	// goroutines.
	Hold func() error
}

// Others are the shards that hold the other registrations, as far as registrations in
// different shards affect each other. Its methods are called concurrently. Values may
// be called with locks held; the others must not block.
type Others interface {
	// Values returns what the other shards have on disk under keys that begin with
	// prefix, at most most values from each shard.
	Values(prefix []byte, most int) ([][]byte, error)
	// Claimed says that there is a new Claim on disk.
	Claimed()
	// Seen says that a device has seen envelopes, and that other shards must be told.
	Seen()
}

// Claim is an address that a registration in a shard has proved. From then on no
// registration in another shard owns the address.
type Claim struct {
	Address [16]byte // its fingerprint
	At      uint64   // Unix milliseconds
	Shard   int      // the shard that claims it
}

// Before reports whether a claim is older than another one to the same address, and
// so wins the address.
func (c Claim) Before(other Claim) bool {
	return c.At < other.At || c.At == other.At && c.Shard < other.Shard
}
