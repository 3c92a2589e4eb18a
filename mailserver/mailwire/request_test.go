package mailwire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// genuineRequests returns the payloads of the requests that a genuine mailserver
// was sent, and whether it answered each.
func genuineRequests(tb testing.TB) []struct {
	Name    string        `json:"name"`
	Payload hexutil.Bytes `json:"payload"`
	Answers []common.Hash `json:"answers"`
} {
	raw, err := os.ReadFile("../../whisper/testdata/genuine/mail-requests.json")
	require.NoError(tb, err)
	var file struct {
		Cases []struct {
			Name    string        `json:"name"`
			Payload hexutil.Bytes `json:"payload"`
			Answers []common.Hash `json:"answers"`
		} `json:"cases"`
	}
	require.NoError(tb, json.Unmarshal(raw, &file))
	require.NotEmpty(tb, file.Cases)
	return file.Cases
}

func TestDecodeGenuineRequests(t *testing.T) {
	for _, c := range genuineRequests(t) {
		t.Run(c.Name, func(t *testing.T) {
			r, err := mailwire.DecodeRequest(c.Payload)
			if len(c.Answers) > 0 {
				require.NoError(t, err, "the genuine mailserver answered it")
			}
			if err != nil {
				require.ErrorIs(t, err, mailwire.ErrMalformed)
				return
			}
			require.Equal(t, []byte(c.Payload[:8]), encode(t, mailwire.Request{Lower: r.Lower, Upper: r.Upper}))
			require.Equal(t, len(c.Payload) >= 76, r.Form == mailwire.Fixed)
			if len(c.Payload) >= 72 {
				require.Equal(t, []byte(c.Payload[8:72]), r.Bloom[:])
			} else {
				require.Nil(t, r.Bloom)
			}
		})
	}
}

func encode(tb testing.TB, r mailwire.Request) []byte {
	b, err := r.Encode()
	require.NoError(tb, err)
	return b
}

// statusRequest and statusPlain are laid out as status-go's structures are, and
// encoded by reflection, so that they do not share a mistake with this package.
type statusRequest struct {
	Lower, Upper uint32
	Bloom        []byte
	Limit        uint32
	Cursor       []byte
	Batch        bool
}

type statusPlain struct {
	ID              []byte
	From, To, Limit uint32
	Cursor, Bloom   []byte
}

func TestRequestForms(t *testing.T) {
	bloom := whisper.TopicFor("chat").Bloom()
	full := whisper.FullBloom()
	since := mailwire.Since(77)
	topics := []whisper.Topic{{1, 2, 3, 4}, {0xff, 0, 0, 1}}
	hashes := []common.Hash{{1}, {31: 2}}
	id := common.Hash{9, 31: 9}
	list := func(v any) []byte {
		b, err := rlp.EncodeToBytes(v)
		require.NoError(t, err)
		return b
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		require.NoError(t, err)
		return b
	}
	const bounds = "5f5e1000 5f5e13e8"
	base := mailwire.Request{Lower: 1600000000, Upper: 1600001000}

	tests := []struct {
		name string
		want func(*mailwire.Request)
		wire []byte
	}{
		{"classic, everything", func(r *mailwire.Request) {}, unhex(bounds)},
		{"classic, bloom", func(r *mailwire.Request) { r.Bloom = &bloom },
			append(unhex(bounds), bloom[:]...)},
		{"fixed, limit", func(r *mailwire.Request) { r.Form, r.Bloom, r.Limit = mailwire.Fixed, &full, 258 },
			append(append(unhex(bounds), full[:]...), 0, 0, 1, 2)},
		{"fixed, cursor", func(r *mailwire.Request) {
			r.Form, r.Bloom, r.Limit, r.Cursor = mailwire.Fixed, &full, 1, since
		}, append(append(append(unhex(bounds), full[:]...), 0, 0, 0, 1), unhex("ff777063 01 000000000000004d 00000000 0000000000000000 0000000000000000000000")...)},
		{"list of status-go", func(r *mailwire.Request) {
			r.Form, r.Bloom, r.Limit, r.Batch = mailwire.List, &bloom, 1000, true
		}, list(statusRequest{1600000000, 1600001000, bloom[:], 1000, nil, true})},
		{"list of status-go, no bloom, cursor", func(r *mailwire.Request) {
			r.Form, r.Cursor = mailwire.List, since
		}, list(statusRequest{1600000000, 1600001000, nil, 0, since.Bytes(), false})},
		{"list with topics", func(r *mailwire.Request) { r.Form, r.Topics = mailwire.List, topics },
			list([]any{uint32(1600000000), uint32(1600001000), []byte{}, uint32(0), []byte{}, false, topics})},
		{"list with hashes", func(r *mailwire.Request) { r.Form, r.Hashes = mailwire.List, hashes },
			list([]any{uint32(1600000000), uint32(1600001000), []byte{}, uint32(0), []byte{}, false, []whisper.Topic{}, hashes})},
		{"plain", func(r *mailwire.Request) {
			r.Form, r.ID, r.Limit, r.Cursor, r.Bloom, r.Batch = mailwire.Plain, id, 5, since, &bloom, true
		}, list(statusPlain{id[:], 1600000000, 1600001000, 5, since.Bytes(), bloom[:]})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := base
			tt.want(&want)
			require.Equal(t, tt.wire, encode(t, want))

			decode := mailwire.DecodeRequest
			if want.Form == mailwire.Plain {
				decode = mailwire.DecodePlain
			}
			got, err := decode(tt.wire)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestDecodeRequestRefuses(t *testing.T) {
	list := func(v ...any) []byte {
		b, err := rlp.EncodeToBytes(v)
		require.NoError(t, err)
		return b
	}
	none := []byte{}
	tests := []struct {
		name    string
		payload []byte
		say     string
	}{
		{"nothing", nil, "0 bytes"},
		{"7 bytes", make([]byte, 7), "7 bytes"},
		{"between the forms", make([]byte, 40), "40 bytes"},
		{"too long", make([]byte, mailwire.MaxPayload+1), "at most"},
		{"empty list", []byte{0xc0}, "lower"},
		{"list of five", list(uint32(1), uint32(2), none, uint32(0), none), "batch"},
		{"lower beyond 32 bits", list(uint64(1)<<32, uint32(2), none, uint32(0), none, false), "lower"},
		{"bloom of 63 bytes", list(uint32(1), uint32(2), make([]byte, 63), uint32(0), none, false), "bloom"},
		{"cursor of 5 bytes", list(uint32(1), uint32(2), none, uint32(0), make([]byte, 5), false), "cursor"},
		{"batch of 2", list(uint32(1), uint32(2), none, uint32(0), none, uint8(2)), "batch"},
		{"topics not a list", list(uint32(1), uint32(2), none, uint32(0), none, false, uint8(2)), "topics"},
		{"a topic of five bytes", list(uint32(1), uint32(2), none, uint32(0), none, false, [][]byte{make([]byte, 5)}), "topics"},
		{"topics of 3 and 5 bytes", list(uint32(1), uint32(2), none, uint32(0), none, false, [][]byte{make([]byte, 3), make([]byte, 5)}), "topics"},
		{"too many topics", list(uint32(1), uint32(2), none, uint32(0), none, false, make([]whisper.Topic, mailwire.MaxTopics+1)), "topics"},
		{"too many hashes", list(uint32(1), uint32(2), none, uint32(0), none, false, []whisper.Topic{}, make([]common.Hash, mailwire.MaxHashes+1)), "hashes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := mailwire.DecodeRequest(tt.payload)
			require.ErrorIs(t, err, mailwire.ErrMalformed)
			require.ErrorContains(t, err, tt.say)
			if len(tt.payload) > 0 && len(tt.payload) <= mailwire.MaxPayload && tt.payload[0] >= 0xc0 {
				require.Equal(t, mailwire.Request{Form: mailwire.List}, r, "so that it can be refused")
			}
		})
	}

	t.Run("plain", func(t *testing.T) {
		for _, b := range [][]byte{
			nil, {0xc0}, make([]byte, mailwire.MaxPayload+1),
			list(make([]byte, 31), uint32(1), uint32(2), uint32(0), none, none),
			list(make([]byte, 32), uint32(1), uint32(2), uint32(0), none),
			list(make([]byte, 32), uint32(1), uint32(2), uint32(0), none, none, none),
		} {
			_, err := mailwire.DecodePlain(b)
			require.ErrorIs(t, err, mailwire.ErrMalformed)
		}
	})
}

func TestDecodeRequestIgnoresItsTail(t *testing.T) {
	b, err := rlp.EncodeToBytes([]any{uint32(1), uint32(2), []byte{}, uint32(3), []byte{}, true,
		[]whisper.Topic{{1}}, []common.Hash{{2}}, true, []uint{7, 8}, "later"})
	require.NoError(t, err)
	r, err := mailwire.DecodeRequest(b)
	require.NoError(t, err)
	require.Equal(t, mailwire.Request{
		Form: mailwire.List, Lower: 1, Upper: 2, Limit: 3, Batch: true,
		Topics: []whisper.Topic{{1}}, Hashes: []common.Hash{{2}}, Prove: true,
	}, r)
}

func TestEncodeRefuses(t *testing.T) {
	for name, r := range map[string]mailwire.Request{
		"classic with limit":    {Limit: 1},
		"classic with cursor":   {Cursor: mailwire.Since(1)},
		"classic with topics":   {Topics: make([]whisper.Topic, 1)},
		"fixed with a batch":    {Form: mailwire.Fixed, Batch: true},
		"fixed with hashes":     {Form: mailwire.Fixed, Hashes: make([]common.Hash, 1)},
		"too many topics":       {Form: mailwire.List, Topics: make([]whisper.Topic, mailwire.MaxTopics+1)},
		"too many hashes":       {Form: mailwire.List, Hashes: make([]common.Hash, mailwire.MaxHashes+1)},
		"a form without a name": {Form: 9},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Encode()
			require.Error(t, err)
		})
	}
}

func TestLargestRequestFits(t *testing.T) {
	b := encode(t, mailwire.Request{
		Form: mailwire.List, Lower: 1 << 31, Upper: 1 << 31, Bloom: new(whisper.Bloom), Limit: 1 << 31, Cursor: mailwire.Since(1),
		Topics: make([]whisper.Topic, mailwire.MaxTopics), Hashes: make([]common.Hash, mailwire.MaxHashes),
	})
	_, err := mailwire.DecodeRequest(b)
	require.NoError(t, err)
}

// FuzzDecodeRequest: what decodes, encodes to something that means the same.
func FuzzDecodeRequest(f *testing.F) {
	for _, c := range genuineRequests(f) {
		f.Add([]byte(c.Payload))
	}
	bloom := whisper.FullBloom()
	for _, r := range []mailwire.Request{
		{Form: mailwire.Fixed, Limit: 9, Cursor: mailwire.Since(3)},
		{Form: mailwire.List, Upper: 5, Bloom: &bloom, Batch: true},
		{Form: mailwire.List, Topics: []whisper.Topic{{1}}, Hashes: []common.Hash{{1}}, Cursor: mailwire.Cursor{Seq: 1, Until: 2}},
	} {
		f.Add(encode(f, r))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := mailwire.DecodeRequest(payload)
		if err != nil {
			require.ErrorIs(t, err, mailwire.ErrMalformed)
			return
		}
		if r.Form != mailwire.List && payload[0] >= 0xc0 {
			return // without its ignored tail it could be taken for a list
		}
		again, err := mailwire.DecodeRequest(encode(t, r))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func FuzzDecodePlain(f *testing.F) {
	f.Add(encode(f, mailwire.Request{Form: mailwire.Plain, Batch: true}))
	f.Add(encode(f, mailwire.Request{Form: mailwire.Plain, ID: common.Hash{1}, Bloom: new(whisper.Bloom), Cursor: mailwire.Since(4), Limit: 1}))
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := mailwire.DecodePlain(packet)
		if err != nil {
			require.ErrorIs(t, err, mailwire.ErrMalformed)
			return
		}
		again, err := mailwire.DecodePlain(encode(t, r))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}

func TestDecodeRequestAllocations(t *testing.T) {
	classic := encode(t, mailwire.Request{Lower: 1, Upper: 2})
	list := encode(t, mailwire.Request{Form: mailwire.List, Topics: make([]whisper.Topic, mailwire.MaxTopics)})
	bomb := append([]byte{0xfb, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x80}, 100)...)
	require.Zero(t, testing.AllocsPerRun(100, func() { mailwire.DecodeRequest(classic) }))
	require.Less(t, testing.AllocsPerRun(100, func() { mailwire.DecodeRequest(list) }), 20.0)
	require.Less(t, testing.AllocsPerRun(100, func() { mailwire.DecodeRequest(bomb) }), 20.0)
}
