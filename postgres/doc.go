// Package postgres keeps in a PostgreSQL database what a node otherwise keeps in
// directories of its own: the stores of package durable and the archive of envelopes.
//
// [Open] checks the server and brings the tables to this version. [DB.Store] is a
// durable.Store: it passes storetest.Exercise, and one process at a time has it.
//
// # What is promised
//
// What was acknowledged is committed, with synchronous_commit on: on the disk of the
// server, and of its synchronous standbys if there are any. A database that is away,
// read-only or full is an error in words ([ErrAway], [ErrReadOnly], [ErrDiskFull]),
// after what may come back was tried again for as long as [Options].Patience. What is
// tried again is numbered or named by its content, so that an attempt whose outcome
// got lost with its connection counts once.
//
// A store has one owner. A session lock tells the second one at once; what makes it
// true is the term, which each write checks in its own transaction, so that an owner
// that was paused or cut off can change nothing after another has taken over.
//
// # In the database
//
// Everything lies in the schema "whisperpush" ([Schema]); migrations/ has its tables,
// by version. They go forward when a database is opened and never back. The role needs
// to connect and to own that schema, nothing else. All values go as parameters.
//
// The package relies on sessions: it locks and listens. In front of the server a
// pooler has to pool by session.
package postgres
