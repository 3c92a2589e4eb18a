package main

import (
	"math"

	"github.com/ethereum/go-ethereum/common/hexutil"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// Verdicts of the genuine node on an envelope in a messages packet.
const (
	pooled  = "pooled"
	ignored = "ignored" // dropped, the link is kept
	// refused, as for messages: dropped, and so is the link
)

// acceptanceCase is an envelope described by its offsets from the receiver's
// clock, because fixed bytes do not stay current.
type acceptanceCase struct {
	Name string `json:"name"`
	// ExpiryOffset is expiry minus now, in seconds.
	ExpiryOffset int64  `json:"expiryOffset"`
	TTL          uint32 `json:"ttl"`
	// TTLIsExpiry stands in for a ttl equal to the expiry (sent time 0).
	TTLIsExpiry    bool              `json:"ttlIsExpiry,omitempty"`
	Topic          whisper.TopicType `json:"topic"`
	DataLength     int               `json:"dataLength"`
	MaxMessageSize uint32            `json:"maxMessageSize"`
	// MinPoW is the receiver's minimum from its start on.
	MinPoW float64 `json:"minPoW"`
	// Sealed is the PoW the sender worked for; 0 is nonce 0.
	Sealed float64 `json:"sealed"`
	// Bloom is the receiver's filter, set just before; null is none.
	Bloom   *hexutil.Bytes `json:"bloom"`
	Verdict string         `json:"verdict"`
	Error   string         `json:"error,omitempty"`
}

func acceptance() ([]acceptanceCase, error) {
	const max = 1000
	own := hexutil.Bytes(whisper.TopicToBloom(topic("0x01428300")))
	cases := []acceptanceCase{
		{Name: "current", ExpiryOffset: 50, TTL: 50},
		{Name: "expires this second", ExpiryOffset: 0, TTL: 50},
		{Name: "expired 1 s ago", ExpiryOffset: -1, TTL: 50},
		{Name: "expired 20 s ago", ExpiryOffset: -20, TTL: 50},
		{Name: "expired 21 s ago", ExpiryOffset: -21, TTL: 50},
		{Name: "sent 1 s ahead", ExpiryOffset: 51, TTL: 50},
		{Name: "sent 10 s ahead", ExpiryOffset: 60, TTL: 50},
		{Name: "sent 11 s ahead", ExpiryOffset: 61, TTL: 50},
		{Name: "ttl 0, sent now", ExpiryOffset: 0, TTL: 0},
		{Name: "ttl 0, sent 10 s ahead", ExpiryOffset: 10, TTL: 0},
		{Name: "ttl 0, sent 11 s ahead", ExpiryOffset: 11, TTL: 0},
		{Name: "ttl 0, infinite PoW passes any minimum", ExpiryOffset: 0, TTL: 0, MinPoW: 1e9},
		{Name: "ttl of a year", ExpiryOffset: 365 * 86400, TTL: 365 * 86400},
		{Name: "sent at the epoch", ExpiryOffset: 50, TTLIsExpiry: true},
		{Name: "ttl above expiry: sent time wraps into the future", ExpiryOffset: 50, TTL: math.MaxUint32},
		{Name: "largest", ExpiryOffset: 50, TTL: 50, DataLength: max - 20},
		{Name: "one byte too large", ExpiryOffset: 50, TTL: 50, DataLength: max - 19},
		{Name: "PoW met", ExpiryOffset: 50, TTL: 50, MinPoW: 0.2, Sealed: 0.3},
		{Name: "PoW not met", ExpiryOffset: 50, TTL: 50, MinPoW: 0.2},
		{Name: "PoW 0.3 where 5 is the minimum: 0.2 is tolerated until it is first changed", ExpiryOffset: 50, TTL: 50, MinPoW: 5, Sealed: 0.3},
		{Name: "inside the bloom", ExpiryOffset: 50, TTL: 50, Topic: topic("0x01428300"), Bloom: &own},
		{Name: "outside the first bloom, just set: none before, all tolerated", ExpiryOffset: 50, TTL: 50, Topic: topic("0xdeadbeef"), Bloom: &own},
	}
	for i := range cases {
		c := &cases[i]
		if c.DataLength == 0 {
			c.DataLength = 100
		}
		c.MaxMessageSize = max
		if err := sameSecond(c.try); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

func (c *acceptanceCase) try(now uint32) error {
	shh := whisper.StandaloneWhisperService(&whisper.Config{MaxMessageSize: c.MaxMessageSize, MinimumAcceptedPOW: c.MinPoW})
	if c.Bloom != nil {
		if err := shh.SetBloomFilter(*c.Bloom); err != nil {
			return err
		}
	}
	env := &whisper.Envelope{Expiry: uint32(int64(now) + c.ExpiryOffset), TTL: c.TTL, Topic: c.Topic, Data: fill(c.DataLength)}
	if c.TTLIsExpiry {
		env.TTL = env.Expiry
	}
	if c.Sealed > 0 {
		if err := env.Seal(&whisper.MessageParams{PoW: c.Sealed, WorkTime: 20}); err != nil {
			return err
		}
	}
	// Only this text of Send, which runs the check of received envelopes,
	// distinguishes dropping from refusing.
	c.Error = ""
	switch err := shh.Send(env); {
	case err == nil:
		c.Verdict = pooled
	case err.Error() == "failed to add envelope":
		c.Verdict = ignored
	default:
		c.Verdict = refused
		c.Error = firstWords(err.Error())
	}
	return nil
}

// firstWords cuts an error text before the hashes and numbers that change.
func firstWords(s string) string {
	for i, r := range s {
		if r == '[' || r == ':' || r == ',' {
			return s[:i]
		}
	}
	return s
}
