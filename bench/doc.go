// Command bench measures whisperpush beside its rivals, in one run and on the
// same inputs: the genuine mailserver of go-ethereum v1.9.20 as a process, and
// the bare machine, which is a loop without us around the same disk, map or HTTP
// connection.
//
//	go run ./bench                                short sizes, some minutes
//	go run ./bench -full                          the sizes of docs/performance.md
//	go run ./bench -cluster                       nodes that share a PostgreSQL server
//	go run ./bench -cluster -rival DIRECTORY      also beside XMTP's notification server, of which
//	                                              DIRECTORY is a checkout that you bring
//	go run ./bench -only wire_ingest_ratio,ring   some of it; names may be cut short
//
// It prints a table for people and for each number a line for machines:
//
//	bench NAME VALUE UNIT
//
// first the ratios, then what is behind them. Runs of two rivals alternate, A B A
// B, and the number is the median of the pairs' ratios, so that what else the
// machine does falls on both. Ours is the wnode executable or its exported
// packages; the load comes over one RLPx link (link.go), the same for both ends.
//
// Everything listens on loopback. Directories and processes are gone when the
// command ends, also on an interrupt.
package main
