// Package backup copies what a node keeps, whether it runs or not, into one stream, and restores it.
//
// A backup is a set of files, in a tar or a directory:
//
//	keys/NAME                 node key, push key and disk key, as their files are; unless they were left out
//	push/000001.records       the push database as it was at one moment, sealed as it is on disk
//	archive/FIRST.records     the archive, some megabytes per file; see package portable
//	manifest.json             the length of each file, and its SHA-256; the last one
//
// The push database is copied first, and then the archive up to the newest sequence at that time. So the place that push
// has reached in the log is never ahead of the archive. Writers do not wait for any of this.
//
// [ReadTar] and [ReadDir] check everything: each file against the manifest, each envelope by itself, and that nothing is
// missing. A restore uses nothing of what was read before they have returned nil.
package backup
