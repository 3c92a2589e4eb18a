// Package archive is the log of envelopes: durable, numbered, queried and followed.
//
// A writer commits envelopes in groups with one fsync each and numbers them without
// gaps: the receive sequence. What was committed is found by sent time, topic, bloom
// filter and hash ([Archive.Query], [Archive.ByHash]) and followed from any sequence
// ([Archive.Follow]). A whisper.Node hands over what it accepts; a mailserver.Server
// answers requests from it; the push server follows it. Nothing here knows of them.
// Package archivetest is what another archive must do to take its place.
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
// A partition that is not as it was written is set aside, told of ([Archive.Damage])
// and salvaged by [Recover]; the archive goes on with the others. A sequence is never
// given twice.
package archive
