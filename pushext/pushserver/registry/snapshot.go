package registry

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/sync/errgroup"

	"whisperpush/durable"
	"whisperpush/pushext/pushserver/topics"
	"whisperpush/pushext/pushserver/vault"
)

// A snapshot is the index as it lies in memory, so that a start need not open every
// registration and index it again. It is a file among the database's own, and a record in
// the database that says what the file holds. The file is sealed, piece by piece, with
// AES-256-GCM under a key of its own. The key is in the record, which is sealed as any
// other: without the record the file is noise.
//
// The record is written when the file is on disk, and deleted in the batch of the next
// change of a registration. So whenever a crash comes, there is a record only while the
// file tells what the database holds. Without a record, or if the file is not the one it
// means, all registrations are read. A database that is salvaged gets a new directory,
// which has no such file.
const (
	snapshotName = "index.snapshot"
	snapshotTemp = snapshotName + ".tmp" // while it is being written

	snapshotVersion = 2 // 1 had no links
	// snapshotPiece is how many bytes are sealed at a time: few enough to stay in a
	// core's cache between the file and the index.
	snapshotPiece = 256 << 10
	// snapshotMost bounds the bytes of an array and every count: more than there can be, and
	// sums of them fit into 64 bits.
	snapshotMost = 1 << 40

	gcmNonce    = 12
	gcmOverhead = 16
)

// KeySnapshot holds the record, snapshot, sealed.
var KeySnapshot = []byte{vault.Meta, 's'}

// errSnapshot means that a snapshot cannot be used.
var errSnapshot = errors.New("snapshot cannot be used")

// snapshot is the record, as an RLP list. Elements may be added at its end.
type snapshot struct {
	Format uint8
	Key    [32]byte // of the file

	// Bytes of the index's arrays, which the file holds in this order.
	Slots, Words, Postings uint64

	Multiplier  uint64 // of the table of topics
	Topics      uint64 // in the table
	Used        uint64 // postings in use
	Free, Spare uint32 // the first unused posting and slot

	Classes    [classes]uint64 // registrations
	Channels   uint64
	Challenged uint64

	Links uint64 `rlp:"optional"` // bytes, the fourth array

	Tail []rlp.RawValue `rlp:"tail"`
}

// newSnapshot describes an index and the counts beside it, with a fresh key.
func newSnapshot(x *topics.Index, t tally) *snapshot {
	m := x.Image()
	s := &snapshot{
		Format: snapshotVersion,
		Slots:  m.Slots, Words: m.Words, Postings: m.Postings, Links: m.Links,
		Multiplier: m.Multiplier, Topics: m.Topics, Used: m.Used, Free: m.Free, Spare: m.Spare,
		Channels: uint64(t.channels), Challenged: uint64(t.challenged),
	}
	for class, n := range t.count {
		s.Classes[class] = uint64(n)
	}
	rand.Read(s.Key[:]) // never fails
	return s
}

// decodeSnapshot reads the record of a file of so many bytes, and checks that it
// describes an index that takes no more memory than that. The error wraps errSnapshot.
func decodeSnapshot(record []byte, size int64) (*snapshot, error) {
	s := new(snapshot)
	if err := rlp.DecodeBytes(record, s); err != nil {
		return nil, fmt.Errorf("%w: its record: %v", errSnapshot, err)
	}
	if s.Format != snapshotVersion {
		return nil, fmt.Errorf("%w: another version of this program wrote it: format %d, not %d", errSnapshot, s.Format, snapshotVersion)
	}
	for _, n := range append(s.Classes[:], s.Slots, s.Words, s.Postings, s.Links, s.Channels, s.Challenged) {
		if n > snapshotMost {
			return nil, fmt.Errorf("%w: its record counts up to %d", errSnapshot, n)
		}
	}
	if err := s.image().Check(); err != nil {
		return nil, fmt.Errorf("%w: its record: %v", errSnapshot, err)
	}
	want := int64(0)
	for _, bytes := range s.image().Sizes() {
		want += bytes + (bytes+snapshotPiece-1)/snapshotPiece*gcmOverhead
	}
	if size != want {
		return nil, fmt.Errorf("%w: the file has %d bytes, want %d", errSnapshot, size, want)
	}
	return s, nil
}

// image is the index that the file holds.
func (s *snapshot) image() topics.Image {
	return topics.Image{
		Slots: s.Slots, Words: s.Words, Postings: s.Postings, Links: s.Links,
		Multiplier: s.Multiplier, Topics: s.Topics, Used: s.Used, Free: s.Free, Spare: s.Spare,
	}
}

// tally is what the snapshot counts.
func (s *snapshot) tally() tally {
	t := tally{channels: int(s.Channels), challenged: int(s.Challenged)}
	for class, n := range s.Classes {
		t.count[class] = int(n)
	}
	return t
}

// piece is what is sealed at a time.
type piece struct {
	plain  []byte // a part of an array
	number uint64
	at     int64 // in the file
}

// pieces divides the arrays of an index, each by itself.
func pieces(arrays [4][]byte) (of [4][]piece) {
	number, at := uint64(0), int64(0)
	for i, array := range arrays {
		for plain := range slices.Chunk(array, snapshotPiece) {
			of[i] = append(of[i], piece{plain, number, at})
			number++
			at += int64(len(plain) + gcmOverhead)
		}
	}
	return of
}

// nonce of a piece is its number, so that it cannot be moved. None can be left out
// either, because the record tells how large the file is.
func (p piece) nonce() []byte {
	return binary.BigEndian.AppendUint64(make([]byte, gcmNonce-8, gcmNonce), p.number)
}

// cipher seals the pieces.
func (s *snapshot) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.Key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// writeSnapshot writes the file of a snapshot into dir, in place of any former one, and
// returns its record when the file is on disk. Nothing may change x meanwhile.
func writeSnapshot(ctx context.Context, dir string, x *topics.Index, t tally) (record []byte, err error) {
	s := newSnapshot(x, t)
	temp := filepath.Join(dir, snapshotTemp)
	defer func() {
		if err != nil {
			os.Remove(temp)
		}
	}()
	if err := s.write(ctx, temp, x); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, filepath.Join(dir, snapshotName)); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, err
	}
	return rlp.EncodeToBytes(s)
}

// write writes the file and calls fsync.
func (s *snapshot) write(ctx context.Context, path string, x *topics.Index) error {
	aead, err := s.cipher()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sealed := make([]byte, 0, snapshotPiece+gcmOverhead)
	for _, of := range pieces(x.Arrays()) {
		for _, p := range of {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				_, err = f.Write(aead.Seal(sealed, p.nonce(), p.plain, nil))
			}
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readSnapshot reads what writeSnapshot wrote. The error wraps errSnapshot.
func readSnapshot(dir string, record []byte) (*topics.Index, tally, error) {
	f, err := os.Open(filepath.Join(dir, snapshotName))
	if err != nil {
		return nil, tally{}, fmt.Errorf("%w: %v", errSnapshot, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, tally{}, fmt.Errorf("%w: %v", errSnapshot, err)
	}
	s, err := decodeSnapshot(record, info.Size())
	if err != nil {
		return nil, tally{}, err
	}
	x, err := s.read(f)
	if err != nil {
		return nil, tally{}, fmt.Errorf("%w: %v", errSnapshot, err)
	}
	return x, s.tally(), nil
}

// read makes the index that the file holds. All cores read and open the pieces; one of
// them begins with the slots, and then indexes them by their ids.
func (s *snapshot) read(f *os.File) (*topics.Index, error) {
	aead, err := s.cipher()
	if err != nil {
		return nil, err
	}
	x := s.image().Blank()
	of := pieces(x.Arrays())
	slots, rest := of[0], slices.Concat(of[1:]...)
	var next atomic.Int64
	var readers errgroup.Group
	for i := range runtime.GOMAXPROCS(0) {
		readers.Go(func() error {
			sealed := make([]byte, snapshotPiece+gcmOverhead)
			if i == 0 {
				for _, p := range slots {
					if err := p.open(f, aead, sealed); err != nil {
						return err
					}
				}
				x.IndexSlots()
			}
			for {
				n := next.Add(1) - 1
				if n >= int64(len(rest)) {
					return nil
				}
				if err := rest[n].open(f, aead, sealed); err != nil {
					return err
				}
			}
		})
	}
	return x, readers.Wait()
}

// open reads a piece into its place, with sealed as a buffer.
func (p piece) open(f *os.File, aead cipher.AEAD, sealed []byte) error {
	sealed = sealed[:len(p.plain)+gcmOverhead]
	if _, err := f.ReadAt(sealed, p.at); err != nil {
		return err
	}
	if _, err := aead.Open(p.plain[:0], p.nonce(), sealed, nil); err != nil {
		return fmt.Errorf("piece %d does not open", p.number)
	}
	return nil
}
