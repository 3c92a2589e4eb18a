package engine

import "time"

const (
	// partitions is the number of parts that the retention time is divided into.
	partitions = 32
	// A partition covers at least minWidth and at most maxWidth.
	minWidth = time.Minute
	maxWidth = 24 * time.Hour
)

// PartitionWidth is how much time a partition covers; a negative retention is forever.
func PartitionWidth(retention time.Duration) time.Duration {
	if retention < 0 {
		return maxWidth
	}
	return min(max(retention/partitions, minWidth), maxWidth)
}
