package mailwire

import (
	"bytes"

	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/whisper"
)

// Limits on the messages between mailservers of status-go, checked before anything is
// allocated for them.
const (
	// MaxSyncLimit is the largest number of envelopes that a SyncRequest asks for. If it asks for
	// more, such a mailserver closes the link.
	MaxSyncLimit = 1000
	// MaxSyncCursor is the longest cursor of a SyncResponse, in bytes. Those of status-go have 36.
	MaxSyncCursor = 256
)

// SyncRequest is what one mailserver of status-go asks another for, the payload of a packet 123:
// [Lower, Upper, Bloom, Limit, Cursor].
type SyncRequest struct {
	Lower, Upper uint32         // range of sent times, Unix seconds; Lower must not be above Upper
	Bloom        *whisper.Bloom // nil: every topic
	Limit        uint32         // 1 to MaxSyncLimit
	Cursor       []byte         // of the previous answer; empty: from the beginning
}

// Encode returns the payload of the packet. The error says what the other side would reject.
func (r SyncRequest) Encode() (rlp.RawValue, error) {
	switch {
	case r.Limit < 1 || r.Limit > MaxSyncLimit:
		return nil, malformed("a sync request for %d envelopes; 1 to %d", r.Limit, MaxSyncLimit)
	case r.Lower > r.Upper:
		return nil, malformed("a sync request from %d to %d", r.Lower, r.Upper)
	case len(r.Cursor) > MaxSyncCursor:
		return nil, malformed("a cursor of %d bytes, at most %d", len(r.Cursor), MaxSyncCursor)
	}
	bloom := bytes.Repeat([]byte{0xff}, whisper.BloomSize)
	if r.Bloom != nil {
		bloom = r.Bloom[:]
	}
	return rlp.EncodeToBytes([]any{r.Lower, r.Upper, bloom, r.Limit, r.Cursor})
}

// SyncResponse is a part of the answer to a SyncRequest, the payload of a packet 124:
// [Envelopes, Cursor, Final, Error]. It does not say which request it answers.
type SyncResponse struct {
	Envelopes []*whisper.Envelope // at most MaxSyncLimit together with Damaged
	Damaged   int                 // elements in place of an envelope that are none
	Cursor    []byte              // where to continue, if Final; empty: there is no more
	Final     bool                // nothing follows for this request
	Refusal   Refusal             // not empty: the request was refused, or failed halfway
}

// DecodeSyncResponse reads the payload of a packet 124. It keeps b. An error wraps ErrMalformed.
func DecodeSyncResponse(b []byte) (s SyncResponse, err error) {
	r := open(b)
	if r.err != nil {
		return SyncResponse{}, r.err
	}
	content, rest, err := rlp.SplitList(r.rest)
	if err != nil {
		return SyncResponse{}, malformed("envelopes: %v", err)
	}
	list := r.rest[:len(r.rest)-len(rest)]
	r.rest = rest
	s.Cursor = r.bytes("cursor")
	s.Final = r.bool("final")
	text := r.bytes("error")
	switch {
	case r.err != nil:
		return SyncResponse{}, r.err
	case len(s.Cursor) > MaxSyncCursor:
		return SyncResponse{}, malformed("a cursor of %d bytes, at most %d", len(s.Cursor), MaxSyncCursor)
	}
	if len(text) > 0 {
		s.Refusal = Refusal(text[:min(len(text), MaxRefusalText)]).printable()
	}
	count, err := rlp.CountValues(content)
	switch {
	case err != nil:
		return SyncResponse{}, malformed("envelopes: %v", err)
	case count > MaxSyncLimit:
		return SyncResponse{}, malformed("more than %d envelopes in one part of an answer", MaxSyncLimit)
	}
	envelopes, damaged, err := whisper.DecodeEnvelopes(list)
	if err != nil {
		return SyncResponse{}, malformed("%v", err)
	}
	if s.Damaged = damaged; len(envelopes) > 0 {
		s.Envelopes = envelopes
	}
	return s, nil
}
