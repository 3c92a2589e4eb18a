package vectors

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
)

// mailVectors are requests for mail and the end marks of answers.
type mailVectors struct {
	Requests  []mailVector `json:"requests"`
	Completes []mailVector `json:"completes"`
}

type mailVector struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
	Bytes hexutil.Bytes   `json:"bytes"`
}

func cursors() map[string]mailwire.Cursor {
	foreign, err := mailwire.ParseCursor(repeated(0x5f, mailwire.CursorSize))
	if err != nil {
		panic(err)
	}
	return map[string]mailwire.Cursor{
		"none":    {},
		"since":   mailwire.Since(1<<63 - 1),
		"full":    {Seq: 5, Complete: true, Until: 1_800_000_000, Mark: mailwire.CursorMark{1, 2, 3}, Log: mailwire.LogID(repeated(7, 16))},
		"foreign": foreign,
	}
}

func mailRequests() map[string]mailwire.Request {
	bloom := whisper.Topic{1, 2, 3, 4}.Bloom()
	topics := []whisper.Topic{{1, 2, 3, 4}, {0xff}}
	c := cursors()
	return map[string]mailwire.Request{
		"classic":              {Lower: 1, Upper: 1<<32 - 1},
		"classic, bloom":       {Lower: 1_700_000_000, Upper: 1_800_000_000, Bloom: &bloom},
		"fixed":                {Form: mailwire.Fixed, Lower: 1, Upper: 2, Bloom: &bloom, Limit: 7},
		"fixed, cursor":        {Form: mailwire.Fixed, Lower: 1, Upper: 2, Bloom: &bloom, Cursor: c["full"]},
		"list":                 {Form: mailwire.List},
		"list, full":           {Form: mailwire.List, Lower: 1, Upper: 1<<32 - 1, Bloom: &bloom, Topics: topics, Hashes: []common.Hash{hashA, hashB}, Limit: 256, Cursor: c["since"], Batch: true},
		"list, topics":         {Form: mailwire.List, Topics: topics, Cursor: c["full"]},
		"list, hashes":         {Form: mailwire.List, Hashes: []common.Hash{hashA}, Batch: true},
		"list, foreign cursor": {Form: mailwire.List, Cursor: c["foreign"]},
		"list, prove":          {Form: mailwire.List, Topics: topics, Cursor: c["since"], Prove: true},
		"plain":                {Form: mailwire.Plain, ID: hashA, Lower: 1, Upper: 2, Limit: 3, Cursor: c["since"], Bloom: &bloom, Batch: true},
	}
}

func completes() map[string]mailwire.Complete {
	c := cursors()
	return map[string]mailwire.Complete{
		"the end":         {ID: hashA, Last: hashB},
		"nothing":         {ID: hashA},
		"more":            {ID: hashA, Last: hashB, Cursor: c["full"]},
		"foreign":         {ID: hashA, Last: hashB, Cursor: c["foreign"]},
		"with a proof":    {ID: hashA, Last: hashB, Cursor: c["full"], Proof: &mailwire.Proof{After: 4, At: 1_800_000_000_000, Signature: [mailwire.SignatureSize]byte(repeated(0x51, 64))}},
		"busy":            {ID: hashA, Refusal: mailwire.RefuseBusy(90e9, "many are waiting")},
		"of another make": {ID: hashA, Refusal: "no"},
	}
}

func decodeMail(b []byte, form string) (mailwire.Request, error) {
	if form == "plain" {
		return mailwire.DecodePlain(b)
	}
	return mailwire.DecodeRequest(b)
}

func TestWriteMailVectors(t *testing.T) {
	if !*update {
		t.Skip("testdata/go is written with -update only")
	}
	var all mailVectors
	for _, name := range sortedNames(mailRequests()) {
		r := mailRequests()[name]
		b, err := r.Encode()
		require.NoError(t, err)
		all.Requests = append(all.Requests, mailVector{name, jsonOf(t, plain(reflect.ValueOf(r))), b})
	}
	for _, name := range sortedNames(completes()) {
		c := completes()[name]
		all.Completes = append(all.Completes, mailVector{name, jsonOf(t, plain(reflect.ValueOf(c))), c.Encode()})
	}
	write(t, "mail.json", all)
}

func TestMailVectors(t *testing.T) {
	ofBoth(t, func(t *testing.T, writer string) {
		all := read[mailVectors](t, writer, "mail.json")
		require.GreaterOrEqual(t, len(all.Requests), 10)
		for _, v := range all.Requests {
			t.Run("request "+v.Name, func(t *testing.T) {
				var form struct{ Form string }
				require.NoError(t, json.Unmarshal(v.Value, &form))
				r, err := decodeMail(v.Bytes, form.Form)
				require.NoError(t, err)
				sameJSON(t, v.Value, plain(reflect.ValueOf(r)))
				b, err := r.Encode()
				require.NoError(t, err)
				require.True(t, bytes.Equal(v.Bytes, b))
			})
		}
		require.GreaterOrEqual(t, len(all.Completes), 6)
		for _, v := range all.Completes {
			t.Run("end mark "+v.Name, func(t *testing.T) {
				c, err := mailwire.DecodeComplete(v.Bytes)
				require.NoError(t, err)
				sameJSON(t, v.Value, plain(reflect.ValueOf(c)))
				require.True(t, bytes.Equal(v.Bytes, c.Encode()))
			})
		}
	})
}
