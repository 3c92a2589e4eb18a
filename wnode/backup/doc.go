// Package backup copies what a node keeps, while it runs or not, into one stream, and puts it back.
//
// A backup is files, in a tar or a directory:
//
//	keys/NAME                 node key, push key and disk key, as their files are; unless they were left out
//	push/000001.records       the push database as it was at one moment, sealed as it is on disk
//	archive/FIRST.records     the archive, some megabytes a file; see package portable
//	manifest.json             how long each file is, and its SHA-256; the last one
//
// The push database is copied first, and then the archive up to the sequence that it has come to by then: the place in the
// log that push has come to is never ahead of the archive. Nobody who writes waits for any of it.
//
// [Read] checks everything: each file against the manifest, each envelope by itself, and that nothing is missing. Whoever
// restores uses nothing of what was read before Read has returned nil.
package backup
