// Package chaos runs three nodes that share one PostgreSQL server with a synchronous
// standby, as processes on this computer, with devices that ask a different node each time.
// It breaks one thing after the other: nodes are killed and paused, cut off from their
// database, their clocks are set wrong, disks are filled, and the primary is killed. Its
// oracle knows what was archived and for whom. The package has only tests: make cluster.
package chaos
