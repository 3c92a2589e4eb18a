package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/config"
	"whisperpush/mailserver/archive"
	"whisperpush/mailserver/archive/portable"
	"whisperpush/pushext/pushserver"
	"whisperpush/whisper"
	"whisperpush/wnode/backup"
)

// kept is what a node keeps, for its operator: that of a running node, or opened while no node runs.
type kept struct {
	settings func() config.Config
	archive  Archive                                        // nil: there is no archive
	push     func(each func(key, value []byte) error) error // reads the push database; nil: there is none here
}

// ArchiveReport is what the archive holds.
type ArchiveReport struct {
	First      uint64   `json:"first"` // sequence
	Last       uint64   `json:"last"`  // sequence; below First if there is no envelope
	Partitions int      `json:"partitions,omitempty"`
	Bytes      int64    `json:"bytes,omitempty"`
	Oldest     string   `json:"oldest,omitempty"` // when it was archived, RFC 3339
	Newest     string   `json:"newest,omitempty"`
	Damaged    []string `json:"damaged"` // parts that are set aside
}

// PruneReport is what was pruned.
type PruneReport struct {
	Partitions int   `json:"partitions"`
	Bytes      int64 `json:"bytes"`
}

// TakeReport is what happened to the envelopes of a call.
type TakeReport struct {
	Archived int `json:"archived"`
	Known    int `json:"known"`   // had been archived before
	TooOld   int `json:"tooOld"`  // had been sent longer ago than the node keeps mail
	Refused  int `json:"refused"` // are not envelopes
}

var (
	errNoArchive = errors.New("there is no archive; start the node with --mailserver or --push")
	errShared    = errors.New("the archive is in PostgreSQL, which has its own ways for that: retention drops what is old, and pg_dump copies all of it")
)

func (k *kept) stats() (r ArchiveReport, err error) {
	if k.archive == nil {
		return r, errNoArchive
	}
	r = ArchiveReport{First: k.archive.First(), Last: k.archive.Last(), Damaged: []string{}}
	if own, ok := k.archive.(*archive.Archive); ok {
		s := own.Stats()
		r = ArchiveReport{First: s.First, Last: s.Last, Partitions: s.Partitions, Bytes: s.Bytes, Oldest: moment(s.Oldest), Newest: moment(s.Newest), Damaged: append(r.Damaged, s.Damaged...)}
	}
	return r, nil
}

// moment is a time in the form of reports; empty for the zero time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (k *kept) prune(before time.Time) (r PruneReport, err error) {
	if k.archive == nil {
		return r, errNoArchive
	}
	own, ok := k.archive.(*archive.Archive)
	if !ok {
		return r, errShared
	}
	r.Partitions, r.Bytes, err = own.Prune(before)
	return r, err
}

// maxTaken bounds the envelopes of one call.
const maxTaken = 4096

// take archives envelopes that are not archived yet. Nobody is woken for one that expired over an hour ago.
func (k *kept) take(ctx context.Context, raws [][]byte) (r TakeReport, err error) {
	if k.archive == nil {
		return r, errNoArchive
	}
	if len(raws) > maxTaken {
		return r, fmt.Errorf("%d envelopes at once; bring at most %d", len(raws), maxTaken)
	}
	var envs []*whisper.Envelope
	var hashes []common.Hash
	kept := retention(k.settings())
	for _, raw := range raws {
		env, err := whisper.DecodeEnvelope(raw)
		switch {
		case err != nil:
			r.Refused++
		case kept >= 0 && time.Since(time.Unix(int64(env.Sent()), 0)) > kept:
			r.TooOld++
		default:
			envs, hashes = append(envs, env), append(hashes, env.Hash())
		}
	}
	_, missing, err := k.archive.ByHash(ctx, hashes)
	if err != nil {
		return r, err
	}
	fresh := make(map[common.Hash]bool, len(missing))
	for _, h := range missing {
		fresh[h] = true
	}
	var add []*whisper.Envelope
	for _, env := range envs {
		if fresh[env.Hash()] {
			add = append(add, env)
			fresh[env.Hash()] = false // once
		}
	}
	r.Known = len(envs) - len(add)
	done := make(chan error, 1)
	k.archive.Archive(ctx, add, func(err error) { done <- err })
	if err := <-done; err != nil {
		return r, err
	}
	r.Archived = len(add)
	return r, nil
}

// export writes everything that is archived now, in the format of package portable.
func (k *kept) export(ctx context.Context, w io.Writer) error {
	if k.archive == nil {
		return errNoArchive
	}
	out, err := portable.NewWriter(w)
	if err != nil {
		return err
	}
	if _, err := backup.Records(ctx, k.archive, out.Write); err != nil {
		return err
	}
	return out.Close()
}

// backup writes a backup of everything.
func (k *kept) backup(ctx context.Context, w io.Writer, withKeys bool) error {
	cfg := k.settings()
	if WithStore(cfg) {
		return fmt.Errorf("%w; beside it keep copies of %s, %s and %s", errShared, NodeKeyFile(cfg).Path(), PushKeyFile(cfg).Path(), DiskKeyFile(cfg).Path())
	}
	source := backup.Source{Program: Version(), Push: k.push, Cursor: pushserver.CursorOf}
	if k.archive != nil {
		source.Archive = k.archive
	}
	if withKeys {
		var err error
		if source.Keys, err = keyFiles(cfg); err != nil {
			return err
		}
	}
	_, err := backup.Write(ctx, w, source, nil)
	return err
}

// Names of the keys in a data directory and in a backup.
const (
	nodeKeyName = "nodekey"
	pushKeyName = "pushkey"
	diskKeyName = "push.disk.key"

	formerKeysName = pushKeyName + formerSuffix
)

// keyFiles returns the contents of the existing key files, by their names in a data directory.
func keyFiles(cfg config.Config) (map[string][]byte, error) {
	files := map[string][]byte{}
	former := KeyFile{What: "file with the former push keys", named: FormerPushKeysPath(cfg)}
	for name, file := range map[string]KeyFile{nodeKeyName: NodeKeyFile(cfg), pushKeyName: PushKeyFile(cfg), formerKeysName: former, diskKeyName: DiskKeyFile(cfg)} {
		if name == nodeKeyName && cfg.Node.KeyHex != "" {
			continue
		}
		text, err := os.ReadFile(file.Path())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("the %s in %s cannot be read: %w", file.What, file.Path(), cause(err))
		}
		files[name] = text
	}
	return files, nil
}

// size is roughly how many bytes a backup has, for a progress bar.
func (k *kept) size() int64 {
	if own, ok := k.archive.(*archive.Archive); ok {
		return own.Stats().Bytes
	}
	return 0
}
