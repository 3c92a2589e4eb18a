package vectors

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/mailserver/mailwire"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// spoiledVector is what a decoder makes of bytes that were good before something
// happened to them. Both languages must take and refuse the same.
type spoiledVector struct {
	Decoder string        `json:"decoder"`
	Input   hexutil.Bytes `json:"input"`
	// Code is the TypeScript name of the error; empty: the bytes are taken.
	Code string `json:"code"`
	// Value is what they are taken for. It is left out where a text is no UTF-8, which
	// TypeScript cannot keep as it is.
	Value json.RawMessage `json:"value,omitempty"`
}

// decoders returns what bytes are taken for.
var decoders = map[string]func([]byte) (any, error){
	"envelope": func(b []byte) (any, error) {
		e, err := whisper.DecodeEnvelope(b)
		if err != nil {
			return nil, err
		}
		return map[string]any{"hash": hexutil.Encode(e.Hash().Bytes())}, nil
	},
	"envelopes": func(b []byte) (any, error) {
		all, bad, err := whisper.DecodeEnvelopes(b)
		return map[string]any{"good": len(all), "bad": bad}, err
	},
	"request": func(b []byte) (any, error) {
		r, err := pushwire.DecodeRequest(b)
		if err != nil {
			return nil, err
		}
		return request(r), nil
	},
	"reply": func(b []byte) (any, error) {
		r, err := pushwire.DecodeReply(b)
		return reply(r), err
	},
	"offer":        func(b []byte) (any, error) { return described(pushwire.DecodeOffer(b)) },
	"mailRequest":  func(b []byte) (any, error) { return described(mailwire.DecodeRequest(b)) },
	"plainRequest": func(b []byte) (any, error) { return described(mailwire.DecodePlain(b)) },
	"complete":     func(b []byte) (any, error) { return described(mailwire.DecodeComplete(b)) },
	"cursor":       func(b []byte) (any, error) { return described(mailwire.ParseCursor(b)) },
}

func described[T any](v T, err error) (any, error) { return plain(reflect.ValueOf(v)), err }

// codeOf is the TypeScript name of an error, empty for none.
func codeOf(t *testing.T, err error) string {
	for sentinel, name := range map[error]string{
		whisper.ErrMalformed: "malformed", mailwire.ErrMalformed: "malformed", pushwire.ErrMalformed: "malformed",
		pushwire.ErrVersion: "version", pushwire.ErrUnsupported: "unsupported", pushwire.ErrTooLarge: "too-large",
	} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	require.NoError(t, err)
	return ""
}

// goods are inputs that decoders take.
func goods(t *testing.T) map[string][][]byte {
	pushKey, registrationKey := key(t, repeated(0x45, 32)), key(t, repeated(0x71, 32))
	all := make(map[string][][]byte)
	add := func(decoder string, b []byte, err error) {
		require.NoError(t, err)
		if len(b) < 700 {
			all[decoder] = append(all[decoder], b)
		}
	}
	requests, replies := bodies(pushKey, registrationKey), replyVectors()
	for _, name := range sortedNames(requests) {
		server := compressed(pushKey)
		b, err := pushwire.EncodeRequest(pushwire.Request{ID: [16]byte{1}, Issued: issued, Body: requests[name], Server: server[:]})
		add("request", b, err)
	}
	for _, name := range sortedNames(replies) {
		b, err := pushwire.EncodeReply(replies[name])
		add("reply", b, err)
	}
	for _, name := range sortedNames(offerVectors()) {
		b, err := pushwire.EncodeOffer(offerVectors()[name])
		add("offer", b, err)
	}
	for _, name := range sortedNames(mailRequests()) {
		r := mailRequests()[name]
		b, err := r.Encode()
		if r.Form == mailwire.Plain {
			add("plainRequest", b, err)
		} else {
			add("mailRequest", b, err)
		}
	}
	for _, name := range sortedNames(completes()) {
		add("complete", completes()[name].Encode(), nil)
	}
	for _, name := range sortedNames(cursors()) {
		if b := cursors()[name].Bytes(); len(b) > 0 {
			add("cursor", b, nil)
		}
	}
	envelope, err := rlp.EncodeToBytes([]any{uint32(sent + 50), uint32(50), whisper.Topic{1, 2, 3, 4}, repeated(5, 60), uint64(1 << 40)})
	add("envelope", envelope, err)
	list, err := rlp.EncodeToBytes([]rlp.RawValue{envelope, envelope})
	add("envelopes", list, err)
	return all
}

// spoil does one to three things to bytes.
func spoil(r *rand.Rand, good []byte) []byte {
	b := slices.Clone(good)
	interesting := []byte{0, 1, 2, 0x7f, 0x80, 0x81, 0x88, 0xa0, 0xb7, 0xb8, 0xb9, 0xbf, 0xc0, 0xc1, 0xd0, 0xf7, 0xf8, 0xf9, 0xff}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b) + 1)
		if r.IntN(3) == 0 {
			at = r.IntN(min(len(b), 12) + 1) // the heads are at the beginning
		}
		switch value := interesting[r.IntN(len(interesting))]; r.IntN(6) {
		case 0:
			if at < len(b) {
				b[at] ^= 1 << r.IntN(8)
			}
		case 1:
			if at < len(b) {
				b[at] = value
			}
		case 2:
			b = slices.Insert(b, at, value)
		case 3:
			if at < len(b) {
				b = slices.Delete(b, at, at+1)
			}
		case 4:
			if r.IntN(4) == 0 {
				b = b[:at]
			}
		case 5:
			b = append(b, value)
			if r.IntN(2) == 0 && b[0] == 0xf8 && len(b) > 1 { // the outer head is right again
				b[1]++
			}
		}
	}
	return b
}

// beyond are messages that are well-formed, and just within or beyond a limit.
func beyond(t *testing.T) map[string][][]byte {
	all := make(map[string][][]byte)
	add := func(decoder string, elements ...any) {
		b, err := rlp.EncodeToBytes(elements)
		require.NoError(t, err)
		all[decoder] = append(all[decoder], b)
	}
	id, hash := repeated(1, pushwire.IDSize), repeated(2, 32)
	list := func(n int, element any) []any { return slices.Repeat([]any{element}, n) }
	none := []any{}
	preferences := func(holders []any) []any { return []any{repeated(1, 32), repeated(1, 16), holders} }
	request := func(kind uint64, body ...any) { add("request", uint64(2), kind, id, uint64(issued), body) }
	register := func(routes []any, sealKey int, channels []any, group int, preferences []any) {
		request(1, uint64(1), routes, repeated(3, sealKey), uint64(0), channels, uint64(0), repeated(4, group), preferences)
	}
	route := func(provider, address, keys, key int) []any {
		return []any{repeated('x', provider), repeated('y', address), list(keys, repeated(1, key))}
	}
	good := list(1, route(1, 1, 0, 0))

	for _, version := range []uint64{0, 1, 3} {
		add("request", version, uint64(5), id, uint64(issued), none)
		add("reply", version, id)
		add("offer", version)
	}
	for _, kind := range []uint64{0, 9, 255, 256, 257, 1 << 40} {
		request(kind)
	}
	for _, extra := range []int{0, 1} {
		register(list(pushwire.MaxRoutes+extra, route(1, 1, 0, 0)), 32, none, 0, none)
		register(list(1, route(pushwire.MaxProviderName+extra, 1, 0, 0)), 32, none, 0, none)
		register(list(1, route(1, pushwire.MaxToken+extra, 0, 0)), 32, none, 0, none)
		register(list(1, route(1, 1, pushwire.MaxKeys+extra, 1)), 32, none, 0, none)
		register(list(1, route(1, 1, 1, pushwire.MaxKey+extra)), 32, none, 0, none)
		register(good, 32+extra, none, 0, none)
		register(good, 32, none, pushwire.MaxGroup+extra, none)
		register(good, 32, none, 0, preferences(list(pushwire.MaxRevoked+extra, []byte("x"))))
		register(good, 32, none, 0, preferences(list(1, repeated('x', pushwire.MaxHolder+extra))))
		request(6, list(pushwire.MaxFetch+extra, hash))
		request(6, none, list(pushwire.MaxFetch+extra, hash))
		request(7, list(1, repeated(2, 32+extra)))
		request(8, id, []byte("x"), hash, uint64(1+2*extra), hash)
		add("reply", uint64(2), id, uint64(255+extra))
		add("reply", uint64(2), id, uint64(0), repeated('x', pushwire.MaxText+extra))
		add("reply", uint64(2), id, uint64(0), none[:0:0], uint64(0))
		add("reply", uint64(2), id, uint64(0), "", uint64(0), "", uint64(5), []any{repeated(1, 4096+extra)})
		add("reply", uint64(2), id, uint64(0), "", uint64(0), "", uint64(3), []any{none, list(pushwire.MaxFetch+extra, hash)})
		add("reply", uint64(2), id, uint64(0), "", uint64(0), "", uint64(6+extra), []any{"of the future"}, repeated(2, 33), "and more")
		add("reply", uint64(2), id, uint64(0), "", uint64(0), "", uint64(0), none, repeated(2, 33+extra))
		for _, pow := range []float64{0.5, math.Inf(1), math.Inf(-1), math.NaN(), -1, math.Copysign(0, -1), math.MaxFloat64} {
			add("offer", uint64(2), uint64(1), uint64(2), "", none, []any{uint64(1), uint64(1), uint64(1), uint64(1), math.Float64bits(pow)})
		}
		add("offer", uint64(2), uint64(1), uint64(2), repeated('x', pushwire.MaxEnode+extra))
		add("offer", uint64(2), uint64(1), uint64(2), "", list(pushwire.MaxProviders+extra, []any{"fcm", "1"}))
		add("offer", uint64(2), uint64(1), uint64(2), "", list(1, []any{"fcm", repeated('x', pushwire.MaxInfo+extra)}))
		status := []any{uint64(1), uint64(2), uint64(3), uint64(0), none, none, list(pushwire.MaxHeldRevoked+extra, []byte("x"))}
		add("reply", uint64(2), id, uint64(0), "", uint64(0), "", uint64(2), status)
		mail := []any{uint64(1), uint64(2), "", uint64(1<<32 - 1 + uint64(extra)), "", uint64(0)}
		add("mailRequest", mail...)
		add("mailRequest", uint64(1), uint64(2), "", uint64(0), "", uint64(1+extra))
		add("mailRequest", uint64(1), uint64(2), "", uint64(0), "", uint64(0), list(mailwire.MaxTopics+extra, repeated(1, 4)))
		add("mailRequest", uint64(1), uint64(2), "", uint64(0), "", uint64(0), list(1, repeated(1, 4+extra)))
		add("mailRequest", uint64(1), uint64(2), "", uint64(0), "", uint64(0), none, list(mailwire.MaxHashes+extra, hash))
	}
	request(3, uint64(0), none)
	request(3, uint64(1), list(2, []any{repeated(1, 4), uint64(0), uint64(0)}))
	request(3, uint64(1), list(1, []any{repeated(1, 4), uint64(4), uint64(0)}))
	register(good, 0, none, 0, none)
	register(none, 32, none, 0, none)
	register(good, 32, list(1, []any{repeated(1, 4), uint64(3), uint64(0)}), 0, none)
	register(good, 32, none, 0, []any{repeated(1, 32)})
	register(list(1, route(0, 1, 0, 0)), 32, none, 0, none)
	register(list(1, route(1, 0, 0, 0)), 32, none, 0, none)
	return all
}

func TestWriteSpoiledVectors(t *testing.T) {
	if !*update {
		t.Skip("testdata/go is written with -update only")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var all []spoiledVector
	for _, decoder := range sortedNames(decoders) {
		seeds := goods(t)[decoder]
		for _, input := range slices.Concat(seeds, beyond(t)[decoder]) {
			v := spoiledVector{Decoder: decoder, Input: input}
			v.check(t)
			all = append(all, v)
		}
		seen := make(map[string]int)
		for len(seen) < 100_000 && seen[""] < 40 {
			input := spoil(r, seeds[r.IntN(len(seeds))])
			v := spoiledVector{Decoder: decoder, Input: input}
			v.check(t)
			if seen[v.Code] < 40 {
				all = append(all, v)
			}
			seen[v.Code]++
			if seen["malformed"] > 20_000 {
				break
			}
		}
	}
	write(t, "spoiled.json", all)
}

// check fills in what the Go code makes of the input.
func (v *spoiledVector) check(t *testing.T) {
	value, err := decoders[v.Decoder](v.Input)
	if v.Code = codeOf(t, err); v.Code != "" {
		return
	}
	v.Value = jsonOf(t, value)
	if !textIsUTF8(v.Decoder, v.Input) {
		v.Value = nil
	}
}

// textIsUTF8 tells whether JSON kept the texts of a message as they are.
func textIsUTF8(decoder string, input []byte) bool {
	valid := true
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			if v.Type().Elem().Kind() != reflect.Uint8 {
				for i := range v.Len() {
					walk(v.Index(i))
				}
			}
		case reflect.String:
			valid = valid && utf8.ValidString(v.String())
		}
	}
	switch decoder {
	case "request":
		r, _ := pushwire.DecodeRequest(input)
		walk(reflect.ValueOf(r))
	case "reply":
		r, _ := pushwire.DecodeReply(input)
		walk(reflect.ValueOf(r))
	case "offer":
		o, _ := pushwire.DecodeOffer(input)
		walk(reflect.ValueOf(o))
	case "complete":
		return utf8.Valid(input[min(len(input), 38):]) // what is none is printed as other things
	}
	return valid
}

// The Go code still takes and refuses what the file says.
func TestSpoiledVectors(t *testing.T) {
	all := read[[]spoiledVector](t, "go", "spoiled.json")
	taken, refused := make(map[string]int), make(map[string]int)
	for _, want := range all {
		got := spoiledVector{Decoder: want.Decoder, Input: want.Input}
		got.check(t)
		require.Equal(t, want.Code, got.Code, "%s %s", want.Decoder, want.Input)
		if len(want.Value) > 0 {
			require.JSONEq(t, string(want.Value), string(got.Value), "%s %s", want.Decoder, want.Input)
		}
		if want.Code == "" {
			taken[want.Decoder]++
		} else {
			refused[want.Decoder]++
		}
	}
	for decoder := range decoders {
		require.NotZero(t, taken[decoder], decoder)
		require.NotZero(t, refused[decoder], decoder)
	}
}
