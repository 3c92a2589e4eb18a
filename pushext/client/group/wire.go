package group

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// version is the first element of every message. Each list may grow at its end:
// elements after the known ones are ignored.
const version = 1

// Limits of a group.
const (
	MaxMembers = 256      // of a group
	MaxName    = 64       // bytes of its name
	MaxBody    = 32 << 10 // bytes of a message
	MaxGroups  = 64       // in a Book

	maxParents = 4 // records that one record continues
	maxFrame   = MaxBody + 1024
	// maxRecord is more than the bytes of a record with MaxMembers in each of its
	// lists.
	maxRecord = 32 << 10
)

// ID names a group. It is random, and only its members know it.
type ID [16]byte

// ErrMalformed says that bytes are not a message of a group.
var ErrMalformed = errors.New("group: malformed message")

// Kinds of a frame.
const (
	kindMessage = 1 // on the group's topic
	kindMention = 2 // the same, on the topic of a member who is to be rung
	kindLeave   = 3 // to an admin: the author wants to leave
)

// frame is the payload of a message, signed by its author:
// [version, kind, group, epoch, id, to, body].
type frame struct {
	Version uint64
	Kind    uint64
	Group   ID
	Epoch   uint64      // epoch whose key it is encrypted under
	ID      common.Hash // of the message, chosen by its author
	To      []byte      // member who is rung, compressed; empty: everybody may read it
	Body    []byte
	Rest    []rlp.RawValue `rlp:"tail"`
}

func (f *frame) encode() []byte {
	f.Version = version
	return mustEncode(f)
}

func decodeFrame(b []byte) (f frame, err error) {
	if len(b) > maxFrame {
		return f, fmt.Errorf("%w: a frame of %d bytes (> %d)", ErrMalformed, len(b), maxFrame)
	}
	if err := rlp.DecodeBytes(b, &f); err != nil {
		return f, fmt.Errorf("%w: frame: %w", ErrMalformed, err)
	}
	f.Rest = nil
	switch {
	case f.Version != version:
		return f, fmt.Errorf("%w: a frame of version %d (!= %d)", ErrMalformed, f.Version, version)
	case f.Kind < kindMessage || f.Kind > kindLeave:
		return f, fmt.Errorf("%w: a frame of kind %d", ErrMalformed, f.Kind)
	case len(f.Body) > MaxBody:
		return f, fmt.Errorf("%w: a message of %d bytes (> %d)", ErrMalformed, len(f.Body), MaxBody)
	case f.Kind == kindMessage && len(f.To) != 0, f.Kind != kindMessage && len(f.To) != len(Key{}):
		return f, fmt.Errorf("%w: a frame of kind %d to a key of %d bytes", ErrMalformed, f.Kind, len(f.To))
	}
	return f, nil
}

// Member is one person in a group.
type Member struct {
	Key   Key
	Admin bool // may change the members
}

// record begins an epoch. It is the same for everybody except in its last four
// elements:
// [version, group, name, epoch, rank, parents, secret, pledge, removed, added, to, ticket, next, all].
type record struct {
	Version uint64
	Group   ID
	Name    []byte
	Epoch   uint64
	Rank    uint64        // of its maker among the members before: 0 is the most senior
	Parents []common.Hash // records that it continues; none: it is the first
	Secret  secret
	Pledge  common.Hash // of the secret meant for the next epoch
	Removed []Key
	// Added are new members, and members who become admins or cease to be admins.
	Added []Member

	To     Key            // receiver of this letter
	Ticket ticket         // theirs in the next epoch
	Next   []byte         // secret of the next epoch; for admins only
	All    []Member       // all members of the epoch, the most senior first; for members who lack the record before it
	Rest   []rlp.RawValue `rlp:"tail"`
}

func (r *record) encode() []byte {
	r.Version = version
	return mustEncode(r)
}

func decodeRecord(b []byte) (r record, err error) {
	if len(b) > maxRecord {
		return r, fmt.Errorf("%w: a record of %d bytes (> %d)", ErrMalformed, len(b), maxRecord)
	}
	if err := rlp.DecodeBytes(b, &r); err != nil {
		return r, fmt.Errorf("%w: record: %w", ErrMalformed, err)
	}
	r.Rest = nil
	switch {
	case r.Version != version:
		return r, fmt.Errorf("%w: a record of version %d (!= %d)", ErrMalformed, r.Version, version)
	case len(r.Name) > MaxName, len(r.Parents) > maxParents, len(r.Removed) > MaxMembers, len(r.Added) > MaxMembers, len(r.All) > MaxMembers:
		return r, fmt.Errorf("%w: a record with a name of %d bytes, %d parents, %d removed, %d added, %d members",
			ErrMalformed, len(r.Name), len(r.Parents), len(r.Removed), len(r.Added), len(r.All))
	case r.Epoch == 0 || (len(r.Parents) == 0) != (r.Epoch == 1):
		return r, fmt.Errorf("%w: a record of epoch %d with %d parents", ErrMalformed, r.Epoch, len(r.Parents))
	case r.Rank >= MaxMembers:
		return r, fmt.Errorf("%w: a record of somebody of rank %d", ErrMalformed, r.Rank)
	case len(r.Next) != 0 && (len(r.Next) != len(secret{}) || secret(r.Next).pledge() != r.Pledge):
		return r, fmt.Errorf("%w: a record whose next secret is another than it says", ErrMalformed)
	}
	return r, nil
}

// id names a record by what is the same in all its letters, and by its maker.
func (r *record) id(by Key) common.Hash {
	return crypto.Keccak256Hash(mustEncode([]any{r.Group, r.Name, r.Epoch, r.Rank, r.Parents, r.Secret, r.Pledge, r.Removed, r.Added, by}))
}

func mustEncode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic("group: internal error: " + err.Error()) // no message fails
	}
	return b
}
