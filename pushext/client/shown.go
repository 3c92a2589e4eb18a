package client

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/common"
)

const (
	// maxShown is how many shown messages are remembered, to tell a repeated
	// message, in whatever envelope, from a new one: 8 bytes each.
	maxShown = 1 << 14
	// maxWaiting is how many messages wait at most for the app to confirm that it
	// has them. It is more than a server keeps waiting for one device, and bounds
	// what one History returns.
	maxWaiting = 1024
)

// mark stands for a message, or for an envelope that was read on another device:
// the beginning of its Keccak-256. Two have the same mark by chance only among
// billions of them; making one that has a given mark takes 2^64 attempts.
type mark [8]byte

func markOf(hash common.Hash) mark { return mark(hash[:]) }

// marks are a set that forgets the oldest beyond maxShown. The zero value is empty.
type marks struct {
	list []mark // oldest first
	set  map[mark]struct{}
}

func (m *marks) has(k mark) bool {
	_, ok := m.set[k]
	return ok
}

// add reports whether the mark is new.
func (m *marks) add(k mark) bool {
	if m.has(k) {
		return false
	}
	if m.set == nil {
		m.set = make(map[mark]struct{})
	}
	m.list = append(m.list, k)
	m.set[k] = struct{}{}
	for len(m.list) > maxShown {
		delete(m.set, m.list[0])
		m.list = m.list[1:]
	}
	return true
}

// MarshalText returns the list in base64.
func (m *marks) MarshalText() ([]byte, error) {
	return packed(m.list, func(k mark) []byte { return k[:] }), nil
}

// UnmarshalText reads what MarshalText wrote.
func (m *marks) UnmarshalText(text []byte) error {
	*m = marks{}
	return unpacked(text, len(mark{}), func(b []byte) { m.add(mark(b)) })
}

// waiting is an envelope that the device was told of, and that the app has not
// confirmed yet.
type waiting struct {
	Hash    common.Hash
	Message mark // zero: not fetched yet
}

type waitingList []waiting // oldest first, at most maxWaiting

// MarshalText returns the list in base64, 40 bytes each.
func (l waitingList) MarshalText() ([]byte, error) {
	return packed(l, func(w waiting) []byte { return slices.Concat(w.Hash[:], w.Message[:]) }), nil
}

// UnmarshalText reads what MarshalText wrote.
func (l *waitingList) UnmarshalText(text []byte) error {
	*l = nil
	return unpacked(text, common.HashLength+len(mark{}), func(b []byte) {
		*l = append(*l, waiting{common.Hash(b[:common.HashLength]), mark(b[common.HashLength:])})
	})
}

func (l waitingList) find(hash common.Hash) int {
	return slices.IndexFunc(l, func(w waiting) bool { return w.Hash == hash })
}

func (l *waitingList) drop(hash common.Hash) {
	*l = slices.DeleteFunc(*l, func(w waiting) bool { return w.Hash == hash })
}

func packed[T any](list []T, bytesOf func(T) []byte) []byte {
	var b bytes.Buffer
	for _, item := range list {
		b.Write(bytesOf(item))
	}
	return base64.StdEncoding.AppendEncode(nil, b.Bytes())
}

func unpacked(text []byte, size int, each func([]byte)) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	if len(b)%size != 0 {
		return fmt.Errorf("a list of %d bytes is no list of %d each", len(b), size)
	}
	for item := range slices.Chunk(b, size) {
		each(item)
	}
	return nil
}

// await remembers envelopes that the device is about to ask for, before the server
// may take them for delivered. given are those that the app was handed in this run.
// Where there is no room, the oldest of them give way, because an app that was
// handed a thousand others since has them. await returns those that do not fit.
func (s *state) await(hashes []common.Hash, given map[common.Hash]bool) (left []common.Hash) {
	for _, hash := range hashes {
		if s.Known.has(markOf(hash)) || s.Waiting.find(hash) >= 0 {
			continue
		}
		if !s.fits(1, given) {
			left = append(left, hash)
			continue
		}
		s.Waiting = append(s.Waiting, waiting{Hash: hash})
	}
	return left
}

// fits makes room for n more waiting envelopes, and reports whether it could.
func (s *state) fits(n int, given map[common.Hash]bool) bool {
	for len(s.Waiting)+n > maxWaiting {
		if !s.evict(given) {
			return false
		}
	}
	return true
}

// evict counts the oldest waiting envelope that the app was handed in this run as
// shown, if any.
func (s *state) evict(given map[common.Hash]bool) bool {
	oldest := slices.IndexFunc(s.Waiting, func(w waiting) bool { return given[w.Hash] })
	if oldest < 0 {
		return false
	}
	hash := s.Waiting[oldest].Hash
	s.shown(hash)
	delete(given, hash)
	return true
}

// arrived notes an envelope that was fetched. It returns the hash under which its
// message is to be shown, which is the hash of the first envelope it came in. ok is
// false if the message was shown already, or read elsewhere. If the envelope does
// not wait yet, there must be room for it.
func (s *state) arrived(envelope, message common.Hash) (hash common.Hash, ok bool) {
	m := markOf(message)
	if s.Known.has(m) || s.Known.has(markOf(envelope)) {
		s.Known.add(m) // even if it comes in another envelope
		s.Waiting.drop(envelope)
		return common.Hash{}, false
	}
	if first := slices.IndexFunc(s.Waiting, func(w waiting) bool { return w.Message == m }); first >= 0 {
		if s.Waiting[first].Hash != envelope {
			s.Waiting.drop(envelope)
			first = slices.IndexFunc(s.Waiting, func(w waiting) bool { return w.Message == m })
		}
		return s.Waiting[first].Hash, true
	}
	if at := s.Waiting.find(envelope); at >= 0 {
		s.Waiting[at].Message = m
	} else {
		s.Waiting = append(s.Waiting, waiting{envelope, m})
	}
	return envelope, true
}

// shown remembers that the app has a message, or that it was read elsewhere.
func (s *state) shown(hash common.Hash) {
	if at := s.Waiting.find(hash); at >= 0 && s.Waiting[at].Message != (mark{}) {
		s.Known.add(s.Waiting[at].Message)
	} else {
		s.Known.add(markOf(hash))
	}
	s.Waiting.drop(hash)
}
