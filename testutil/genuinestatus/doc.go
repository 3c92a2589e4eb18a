// Package genuinestatus builds and drives Whisper as status-go's mailservers ran it, status-im/whisper
// v1.6.2, as a subprocess: the node that syncs are tested against (packets 123 and 124). It is a command
// of the nested module testutil/genuinestatus/server, because it needs another go-ethereum than this
// module. status-go itself, which keeps the archive and cuts its pages, is not included; the command does
// that.
//
// Never put it on a public network: its p2p has known faults that can be exploited remotely. It listens on
// loopback and has no discovery.
package genuinestatus
