// Package postgres keeps in a PostgreSQL database what a node otherwise keeps in
// directories of its own: the stores of package durable and the archive of envelopes.
//
// [Open] checks the server and brings the tables to this version. [DB.Store] is a
// durable.Store: it passes storetest.Exercise, and one process at a time has it.
// [DB.Archive] is an archive of envelopes: it passes archivetest.Exercise, and any
// number of nodes share it.
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
// # The log
//
// What several callers offer at once is one transaction: it locks the head of the log,
// looks in a statement of its own which envelopes are there already, numbers the others
// without gaps and moves the head. So sequences become visible in their order, and a
// follower reads what is above its cursor and misses nothing. Nodes tell each other of
// new envelopes by NOTIFY, in transactions apart and not often, and look every second
// besides. The log is in parts by the time of receipt, each a table of its own, so that
// retention drops whole tables.
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
