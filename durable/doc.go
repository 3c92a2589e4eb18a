// Package durable is goleveldb as this project needs it: a write that was
// acknowledged is on disk, and a database that is damaged says so.
//
// The archive (one database per time partition) and the push server (one
// database) open it with [Open], write with [DB.Write] (one batch, one fsync,
// concurrent writers share the fsync) and read with [DB.Get] and [DB.Scan]. That
// much is a [Store]; nothing of goleveldb is in it. What is added to goleveldb:
//
//   - Strictness. goleveldb is opened with opt.StrictAll: with the default one
//     flipped bit in the journal drops acknowledged records without a word.
//     StrictAll alone would refuse a journal whose last record was torn by a
//     crash, too, so the storage layer tells the two apart: a torn tail (never
//     acknowledged) is cut off, everything else is [ErrCorrupted].
//   - Directory entries. A file that was created or renamed is acknowledged only
//     after its directory was fsynced as well; goleveldb does that for the
//     manifest but not for a rotated journal.
//   - Room. A journal that is synced for little at a time gets zeros laid ahead of
//     its end, so that a sync costs one write to the disk instead of two; what a
//     power cut does to a write in their midst is told from damage like a torn tail.
//   - Write errors. A full disk or a failed fsync leaves goleveldb's journal
//     writer unusable for ever. After a failed write the database is closed and
//     reopened before the next write is tried; while that is not possible it is
//     opened read-only, so reads go on.
//   - Panics of goleveldb become errors at this boundary and are counted.
//   - [Recover] salvages what can be read from a damaged database into a fresh one
//     and keeps the damaged one aside.
//
// On disk: goleveldb's own files (CURRENT, MANIFEST-n, n.log, n.ldb, LOCK, LOG) in
// the directory given to Open; files of its user's there are left alone, and set
// aside with a damaged database. A damaged database that was set
// aside is a sibling directory named <dir>.corrupt-<UTC time>.
//
// Package faultstore is an in-memory disk with power cuts, full disks, failing
// fsyncs and bit flips, for the tests of this package and of its users. Package
// storetest is what each Store must pass.
package durable
