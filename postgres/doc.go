// Package postgres keeps in a PostgreSQL database what a node otherwise keeps in
// directories of its own: the stores of package durable and the archive of envelopes.
//
// [Open] checks the server and brings the tables to this version. [DB.Store] is a
// durable.Store: it passes storetest.Exercise, and only one process at a time can open
// it. [DB.Archive] is an archive of envelopes: it passes archivetest.Exercise, and any
// number of nodes share it.
//
// # What is promised
//
// What was acknowledged is committed, with synchronous_commit on: on the disk of the
// server, and of its synchronous standbys if there are any. A database that is away,
// read-only or full is an error in words ([ErrAway], [ErrReadOnly], [ErrDiskFull]).
// What may come back is first tried again for as long as [Options].Patience. Anything
// tried again is numbered, or named by its content, so an attempt whose outcome was
// lost with its connection counts once.
//
// A store has one owner. A session lock tells a second one so at once. What enforces it
// is the term, which each write checks in its own transaction: an owner that was paused
// or cut off can change nothing after another has taken over.
//
// # The log
//
// The envelopes that several callers offer at once go into one transaction. It locks
// the head of the log, looks in a separate statement for envelopes that are there
// already, numbers the others without gaps and moves the head. So sequences become
// visible in order, and a follower that reads what is above its cursor misses nothing.
// Nodes tell each other of new envelopes by NOTIFY, in separate transactions and not
// often, and also look every second. The log is divided into parts by the time of
// receipt, each a table of its own, so retention drops whole tables.
//
// # In the database
//
// Everything is in the schema "whisperpush" ([Schema]); migrations/ has its tables, by
// version. Opening a database brings them forward, never back. The role needs to
// connect and to own that schema, nothing else. All values are passed as parameters.
//
// The package relies on sessions: it locks and listens. A pooler in front of the server
// must pool by session.
package postgres
