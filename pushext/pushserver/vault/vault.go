// Package vault keeps the records of a push server, sealed under a key that is not in
// the database. It also makes the keyed fingerprints by which secrets are found
// without being kept. The packages that write the records decide what they hold.
package vault

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/chacha20poly1305"

	"whisperpush/durable"
)

// Meta is the first byte of the keys of single records. A package that keeps records
// under another first byte, or under another second byte after Meta, declares and
// documents it. The key of every record shows its owner, as all share one database.
const Meta = 'm'

// DiskKeySize is the length of Config.DiskKey in bytes.
const DiskKeySize = 32

var (
	// ErrDiskKey means that the database was written with another DiskKey.
	ErrDiskKey = errors.New("push database was sealed with another disk key")
	// ErrFormat means that this program does not know the format of the database: a later version wrote it, or its format
	// record is missing or damaged.
	ErrFormat = errors.New("push database has an unknown format")
	// ErrNoFormat means that a store was never used.
	ErrNoFormat = fmt.Errorf("%w: its format record is missing", ErrFormat)
	// ErrSealed means that one record does not open: it was damaged or moved.
	ErrSealed = errors.New("sealed record does not open")
)

// StoreFormat is the layout of the whole database. A record whose layout changes alone has a version byte of its own.
//
// A database of an earlier format is converted when it is opened. Earlier programs refuse it from then on, as they would
// take records that they cannot read for damaged ones. Format 2 came with ledgers in the records of the outbox.
const StoreFormat = 2

var (
	KeyFormat = []byte{Meta, 'f'}
	KeyCheck  = []byte{Meta, 'k'}
	KeyWrap   = []byte{Meta, 'd'} // after an exchange of the disk key; see rotate.go
)

// Vault is the push server's one database: registrations, what their devices
// have not fetched, and the place in the log. It is one database so that one
// synced batch moves them together. Records that hold an address, a provider
// or seal key, or the topics of a registration are sealed under a key that is
// kept outside the database. The rest (local ids, public hashes, counters) is
// not sealed.
type Vault struct {
	DB   durable.Store
	Dir  string // holds its files, and others beside them; empty for a store from elsewhere
	keys atomic.Pointer[keys]
	mac  []byte    // the fingerprint key
	macs sync.Pool // of hash.Hash: HMAC-SHA-256 under mac
}

// keys seal and open.
type keys struct {
	aead   cipher.AEAD // XChaCha20-Poly1305: random nonces stay safe for any number of records
	former cipher.AEAD // opens what is not resealed yet; nil: everything is
}

// Open opens or creates the database. The error wraps ErrDiskKey,
// ErrFormat or one of durable's.
func Open(dir string, diskKey []byte, o durable.Options) (*Vault, error) {
	s, err := New(diskKey)
	if err != nil {
		return nil, err
	}
	db, err := durable.Open(dir, Options(o))
	if err != nil {
		return nil, fmt.Errorf("open push database: %w", err)
	}
	s.DB, s.Dir = db, dir
	if err := s.check(); err != nil {
		return nil, errors.Join(err, s.DB.Close())
	}
	return s, nil
}

// On is Open for a store that is already open. The store belongs to the vault, and is
// closed if On fails.
func On(db durable.Store, diskKey []byte) (*Vault, error) {
	s, err := New(diskKey)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.DB = db
	if err := s.check(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// Peek is On for a store that must stay as it is: nothing is written to it. An empty store is no push database and
// fails with ErrNoFormat. An incomplete exchange of the disk key fails with ErrRotating. The store stays the
// caller's.
func Peek(db durable.Store, diskKey []byte) (*Vault, error) {
	s, err := New(diskKey)
	if err != nil {
		return nil, err
	}
	s.DB = db
	format, err := db.Get(KeyFormat)
	if errors.Is(err, durable.ErrNotFound) {
		return nil, ErrNoFormat
	}
	if err != nil {
		return nil, fmt.Errorf("read push database: %w", err)
	}
	if err := s.fits(format); err != nil {
		return nil, err
	}
	if s.Rotating() {
		return nil, ErrRotating
	}
	return s, nil
}

// Options returns o with what every push database needs: most look-ups are of keys
// that do not exist, and nearly all that it holds is sealed, or hashes.
func Options(o durable.Options) durable.Options {
	o.Name, o.KeyFilter, o.NoCompression = "push", true, true
	return o
}

// New derives the keys for a store that is not open yet.
func New(diskKey []byte) (*Vault, error) {
	if len(diskKey) != DiskKeySize {
		return nil, fmt.Errorf("disk key has %d bytes, want %d", len(diskKey), DiskKeySize)
	}
	aead, _, err := sealer(diskKey)
	if err != nil {
		return nil, err
	}
	macKey, err := hkdf.Key(sha256.New, diskKey, nil, "whisperpush disk fingerprint 1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive the fingerprint key: %w", err)
	}
	s := &Vault{}
	s.fingerprintUnder(macKey)
	s.keys.Store(&keys{aead: aead})
	return s, nil
}

// fingerprintUnder sets the fingerprint key. The vault must not be in use yet.
func (s *Vault) fingerprintUnder(key []byte) {
	s.mac, s.macs = key, sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
}

// sealer derives the seal key from a disk key, and returns its cipher and the key.
func sealer(diskKey []byte) (cipher.AEAD, []byte, error) {
	sealKey, err := hkdf.Key(sha256.New, diskKey, nil, "whisperpush disk seal 1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, nil, fmt.Errorf("derive the seal key: %w", err)
	}
	aead, err := chacha20poly1305.NewX(sealKey)
	if err != nil {
		return nil, nil, fmt.Errorf("seal key: %w", err)
	}
	return aead, sealKey, nil
}

// check proves that this program and this key fit the database, and initializes a new one.
func (s *Vault) check() error {
	format, err := s.DB.Get(KeyFormat)
	if errors.Is(err, durable.ErrNotFound) {
		it := s.DB.Scan(nil, nil)
		used := it.Next()
		if err := it.Release(); err != nil {
			return fmt.Errorf("read push database: %w", err)
		}
		if used {
			return fmt.Errorf("%w: its format record is missing", ErrFormat)
		}
		var b durable.Batch
		b.Put(KeyFormat, []byte{StoreFormat})
		b.Put(KeyCheck, s.Seal(KeyCheck, nil))
		return s.DB.Write(&b)
	}
	if err != nil {
		return fmt.Errorf("read push database: %w", err)
	}
	if err := s.fits(format); err != nil || format[0] == StoreFormat {
		return err
	}
	var b durable.Batch
	b.Put(KeyFormat, []byte{StoreFormat})
	return s.DB.Write(&b)
}

// fits proves that this program and this key fit a database of a format.
func (s *Vault) fits(format []byte) error {
	if !Readable(format) {
		return fmt.Errorf("%w: %x (this program knows %x); use the program that wrote it", ErrFormat, format, StoreFormat)
	}
	sealed, err := s.DB.Get(KeyCheck)
	if err != nil {
		return fmt.Errorf("read key check of push database: %w", err)
	}
	if _, err := s.Open(KeyCheck, sealed); err != nil {
		return fmt.Errorf("%w: restore the key file that belongs to it, or remove the database to start with no registrations", ErrDiskKey)
	}
	return s.unwrap()
}

// Readable reports whether a record at KeyFormat is of this format or an earlier one.
func Readable(format []byte) bool {
	return len(format) == 1 && format[0] >= 1 && format[0] <= StoreFormat
}

// sealVersion is the first byte of every sealed record, so that the cipher can
// be replaced record by record.
const sealVersion = 1

// Seal encrypts plain for the record at key: version, nonce, ciphertext. The
// key is authenticated, so a record cannot be moved to another key.
func (s *Vault) Seal(key, plain []byte) []byte { return seal(s.keys.Load().aead, key, plain) }

func seal(aead cipher.AEAD, key, plain []byte) []byte {
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	out[0] = sealVersion
	nonce := out[1:]
	rand.Read(nonce) // never fails
	return aead.Seal(out, nonce, plain, key)
}

// Open reverses Seal. The error wraps ErrSealed.
func (s *Vault) Open(key, sealed []byte) ([]byte, error) { return s.OpenInto(nil, key, sealed) }

// OpenInto is Open, and uses the memory of buf as far as it is large enough.
func (s *Vault) OpenInto(buf, key, sealed []byte) ([]byte, error) {
	k := s.keys.Load()
	plain, err := open(k.aead, buf, key, sealed)
	if err != nil && k.former != nil {
		plain, err = open(k.former, buf, key, sealed)
	}
	return plain, err
}

func open(aead cipher.AEAD, buf, key, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+chacha20poly1305.NonceSizeX || sealed[0] != sealVersion {
		return nil, ErrSealed
	}
	nonce, box := sealed[1:1+chacha20poly1305.NonceSizeX], sealed[1+chacha20poly1305.NonceSizeX:]
	plain, err := aead.Open(buf[:0], nonce, box, key)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// Fingerprint is a keyed hash of the parts, one after the other. Secrets
// (addresses) can be compared and indexed by it without being kept. It is useless
// without the disk key.
func (s *Vault) Fingerprint(parts ...[]byte) (f [16]byte) {
	h := s.macs.Get().(hash.Hash)
	defer s.macs.Put(h)
	h.Reset()
	for _, part := range parts {
		h.Write(part)
	}
	var room [sha256.Size]byte
	copy(f[:], h.Sum(room[:0]))
	return f
}

// Get reads one record. A record that does not exist fails with durable.ErrNotFound.
func (s *Vault) Get(key []byte) ([]byte, error) { return s.DB.Get(key) }

// Write commits b with an fsync. The error wraps durable.ErrWrite; the same
// batch may be tried again.
func (s *Vault) Write(b *durable.Batch) error { return s.DB.Write(b) }

// Scan iterates over the keys with a prefix, in order. The caller releases it.
func (s *Vault) Scan(prefix ...byte) durable.Iterator {
	return s.DB.Scan(durable.Prefix(prefix))
}

// ScanOnce scans the keys from one key to another, for large reads that happen
// once: it leaves the cache, if there is one, unchanged.
func (s *Vault) ScanOnce(from, to []byte) durable.Iterator {
	if db, ok := s.DB.(*durable.DB); ok {
		return db.ScanOnce(from, to)
	}
	return s.DB.Scan(from, to)
}

// ScanFrom is Scan from a given key on.
func (s *Vault) ScanFrom(prefix, from []byte) durable.Iterator {
	start, to := durable.Prefix(prefix)
	if bytes.Compare(from, start) > 0 {
		start = from
	}
	return s.DB.Scan(start, to)
}

func (s *Vault) Close() error { return s.DB.Close() }
