// Package genuinestatus builds and drives Whisper as mailservers of status-go ran it, status-im/whisper
// v1.6.2, as a subprocess: the node that syncs are held to (packets 123 and 124). It is a command of the
// nested module testutil/genuinestatus/server, as it needs another go-ethereum than this module. status-go
// itself, which keeps the archive and cuts its pages, is not part of that; the command does it.
//
// Never put it on a public network: its p2p has known remotely exploitable faults. It listens on loopback
// and discovers nobody.
package genuinestatus
