package cluster

import (
	"crypto/sha256"

	"whisperpush/postgres"
)

// ShardOf returns the shard of the registration with a key (compressed). It never changes: the
// rows of the database depend on it.
func ShardOf(key [33]byte) int {
	sum := sha256.Sum256(append([]byte("whisperpush shard 1"), key[:]...))
	return int(sum[0]) % postgres.ShardCount
}
