// Package chaos runs three nodes that share one PostgreSQL server with a synchronous
// standby, as processes of this computer, with devices that ask a different node each time,
// and breaks one thing after the other: nodes are killed and paused, cut from their
// database, their clocks are set wrong, disks are filled, and the primary is killed. Its
// oracle knows what was archived and whom it was for. There is nothing here but tests: make
// cluster.
package chaos
