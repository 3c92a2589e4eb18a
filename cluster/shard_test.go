package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

// A registration key's shard never changes, as the rows of databases depend on it.
func TestShardOfIsFixed(t *testing.T) {
	var shards []int
	for i := range byte(8) {
		shards = append(shards, ShardOf([33]byte{2, i}))
	}
	require.Equal(t, []int{15, 1, 14, 13, 13, 2, 4, 7}, shards)
}

// What is divided into shards, or made of them, is so as the database has them.
func TestShardsAreMoved(t *testing.T) {
	require.Equal(t, postgres.ShardCount, pushserver.UnionShards)
}
