// Package durable makes goleveldb keep two promises: an acknowledged write is on
// disk, and damage to a database is reported.
//
// The archive (one database per time partition) and the push server (one
// database) open it with [Open], write with [DB.Write] (one batch, one fsync,
// concurrent writers share the fsync) and read with [DB.Get] and [DB.Scan]. The
// interface of these is [Store], which does not mention goleveldb. Durable adds to
// goleveldb:
//
//   - Strictness. goleveldb is opened with opt.StrictAll: by default, one flipped
//     bit in the journal silently drops acknowledged records. StrictAll alone would
//     also refuse a journal whose last record was torn by a crash, so the storage
//     layer tells the two apart: a torn tail (never acknowledged) is cut off,
//     everything else is [ErrCorrupted].
//   - Directory entries. A file that was created or renamed is acknowledged only
//     after its directory was fsynced as well; goleveldb does that for the
//     manifest but not for a rotated journal.
//   - Room. A journal that is synced a little at a time gets zeros written ahead of
//     its end, so that a sync costs one write to the disk instead of two. A write
//     into them that a power cut interrupted is told from damage like a torn tail.
//   - Write errors. A full disk or a failed fsync leaves goleveldb's journal
//     writer permanently unusable. After a failed write the database is closed and
//     reopened before the next write is tried; while that is not possible it is
//     opened read-only, so that reads still work.
//   - Panics of goleveldb become errors at this boundary and are counted.
//   - [Recover] salvages what can be read from a damaged database into a fresh one
//     and keeps the damaged one aside.
//
// On disk: goleveldb's own files (CURRENT, MANIFEST-n, n.log, n.ldb, LOCK, LOG) in
// the directory given to Open. Other files there are left alone, but a damaged
// database is set aside together with them, as a sibling directory named
// <dir>.corrupt-<UTC time>.
//
// Package faultstore is an in-memory disk with power cuts, full disks, failing
// fsyncs and bit flips, for the tests of this package and of its users. Package
// storetest is the suite that each Store must pass.
package durable
