// Command bench measures whisperpush against its rivals, in one run and on the
// same inputs. The rivals are the genuine mailserver of go-ethereum v1.9.20 as a
// process, and the bare machine: a loop without our code around the same disk,
// map or HTTP connection.
//
//	go run ./bench                                short sizes, some minutes
//	go run ./bench -full                          the sizes of docs/performance.md
//	go run ./bench -cluster                       nodes that share a PostgreSQL server
//	go run ./bench -cluster -rival DIRECTORY      also beside XMTP's notification server, of which
//	                                              DIRECTORY is a checkout that you bring
//	go run ./bench -only wire_ingest_ratio,ring   some of it; names may be cut short
//
// It prints a table for people, and for each number a line for machines:
//
//	bench NAME VALUE UNIT
//
// first the ratios, then the numbers behind them. Runs of two rivals alternate, A
// B A B, and the number is the median of the pairs' ratios, so that other load on
// the machine affects both. Our side is the wnode executable or its exported
// packages; the load comes over one RLPx link (link.go), the same for both.
//
// Everything listens on loopback. Directories and processes are removed when the
// command ends, even after an interrupt.
package main
