// Package archive is the log of envelopes: durable, numbered, queried and followed.
//
// A writer commits envelopes in groups with one fsync each and numbers them without
// gaps: the receive sequence. Readers find committed envelopes by sent time, topic,
// bloom filter and hash ([Archive.Query], [Archive.ByHash]) or follow the log from any
// sequence ([Archive.Follow]). A whisper.Node hands over the envelopes it accepts, a
// mailserver.Server answers requests from the archive, and the push server follows
// it. This package imports neither server. Package archivetest tests whether another
// archive can take its place.
//
// # On disk
//
// The log is divided into partitions by the time of receipt, each a database of its
// own (volume.go has the directory, layout.go the keys), so that retention removes
// whole directories. A partition's envelopes lie in blocks in the order of their
// sequences. Runs of 65,536 of them have an index; the end of the log is indexed in
// memory, and read again after a crash.
//
// # Damage
//
// A damaged partition is set aside, reported ([Archive.Damage]) and salvaged by
// [Recover]; the archive continues with the others. A sequence is never assigned
// twice.
package archive
