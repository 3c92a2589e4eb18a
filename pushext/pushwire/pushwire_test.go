package pushwire

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

func sealPublic(t testing.TB, private []byte) []byte {
	key, err := ecdh.X25519().NewPrivateKey(private)
	require.NoError(t, err)
	return key.PublicKey().Bytes()
}

func raw(t testing.TB, v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	require.NoError(t, err)
	return b
}

func TestDecodeRequestRefuses(t *testing.T) {
	id := vectorID[:]
	status := func(elements ...any) []any { return elements }
	route := []any{"fcm", "token", []any{}}
	register := func(change func(b []any) []any) []any {
		body := []any{uint(1), []any{route}, make([]byte, SealKeySize), uint(0), []any{}, uint(0), []byte{}, []any{}}
		return []any{uint(2), uint(1), id, uint(5), change(body)}
	}
	set := func(i int, v any) func([]any) []any {
		return func(b []any) []any { b[i] = v; return b }
	}
	repeat := func(n int, v any) []any {
		all := make([]any, n)
		for i := range all {
			all[i] = v
		}
		return all
	}
	topics := func(n int) []any {
		all := make([]any, n)
		for i := range all {
			all[i] = []any{[]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}}
		}
		return all
	}
	for _, c := range []struct {
		name    string
		message any
		want    error
		noID    bool
	}{
		{"empty list", []any{}, ErrMalformed, true},
		{"string", "hello", ErrMalformed, true},
		{"id too short", status(uint(2), uint(5), id[:15], uint(1), []any{}), ErrMalformed, true},
		{"version 3", status(uint(3), uint(5), id, "anything"), ErrVersion, false},
		{"unknown kind", status(uint(2), uint(99), id, uint(1), []any{}), ErrUnsupported, false},
		{"kind beyond a byte", status(uint(2), uint(256+5), id, uint(1), []any{}), ErrUnsupported, false},
		{"issue time with leading zero", status(uint(2), uint(5), id, []byte{0, 1}, []any{}), ErrMalformed, false},
		{"issue time too long", status(uint(2), uint(5), id, make([]byte, 9), []any{}), ErrMalformed, false},
		{"body is a string", status(uint(2), uint(5), id, uint(1), "x"), ErrMalformed, false},
		{"confirm without code", status(uint(2), uint(2), id, uint(1), []any{}), ErrMalformed, false},
		{"confirm with a short code", status(uint(2), uint(2), id, uint(1), []any{[]byte{1}}), ErrMalformed, false},
		{"fetch of too many", status(uint(2), uint(6), id, uint(1), []any{repeat(MaxFetch+1, common.Hash{})}), ErrTooLarge, false},
		{"fetch of a short hash", status(uint(2), uint(6), id, uint(1), []any{[]any{"short"}}), ErrMalformed, false},
		{"fetch with too many received", status(uint(2), uint(6), id, uint(1), []any{[]any{}, repeat(MaxFetch+1, common.Hash{})}), ErrTooLarge, false},
		{"version 0", register(set(0, uint(0))), ErrMalformed, false},
		{"no routes", register(set(1, []any{})), ErrMalformed, false},
		{"too many routes", register(set(1, repeat(MaxRoutes+1, route))), ErrTooLarge, false},
		{"route without address", register(set(1, []any{[]any{"fcm"}})), ErrMalformed, false},
		{"long provider name", register(set(1, []any{[]any{strings.Repeat("a", MaxProviderName+1), "t"}})), ErrTooLarge, false},
		{"long token", register(set(1, []any{[]any{"fcm", make([]byte, MaxToken+1)}})), ErrTooLarge, false},
		{"too many keys", register(set(1, []any{[]any{"fcm", "t", repeat(MaxKeys+1, "k")}})), ErrTooLarge, false},
		{"long key", register(set(1, []any{[]any{"fcm", "t", []any{make([]byte, MaxKey+1)}}})), ErrTooLarge, false},
		{"short seal key", register(set(2, make([]byte, 31))), ErrMalformed, false},
		{"seal key and plain", register(set(3, uint(1))), ErrMalformed, false},
		{"neither seal key nor plain", register(set(2, "")), ErrMalformed, false},
		{"plain is 2", register(set(3, uint(2))), ErrMalformed, false},
		{"too many channels", register(set(4, topics(MaxChannels+1))), ErrTooLarge, false},
		{"topic twice", register(set(4, repeat(2, []any{[]byte{1, 2, 3, 4}}))), ErrMalformed, false},
		{"removed in register", register(set(4, []any{[]any{[]byte{1, 2, 3, 4}, uint(3)}})), ErrMalformed, false},
		{"long group", register(set(6, make([]byte, MaxGroup+1))), ErrTooLarge, false},
		{"root without handle", register(set(7, []any{make([]byte, RootSize)})), ErrMalformed, false},
		{"too many revoked", register(set(7, []any{"", "", repeat(MaxRevoked+1, "x")})), ErrTooLarge, false},
		{"notify without holder", status(uint(2), uint(8), id, uint(1), []any{vectorHandle[:], "", common.Hash{}, uint(1), common.Hash{}}), ErrMalformed, false},
		{"notify of unknown kind", status(uint(2), uint(8), id, uint(1), []any{vectorHandle[:], "a", common.Hash{}, uint(3), common.Hash{}}), ErrUnsupported, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := DecodeRequest(raw(t, c.message))
			require.ErrorIs(t, err, c.want)
			require.Nil(t, req.Body)
			require.Equal(t, c.noID, req.ID == [IDSize]byte{})
			require.NotEqual(t, OK, CodeFor(err))
		})
	}
	t.Run("trailing bytes", func(t *testing.T) {
		b, err := EncodeRequest(vectorRequests()[5].value)
		require.NoError(t, err)
		_, err = DecodeRequest(append(b, 0))
		require.ErrorIs(t, err, ErrMalformed)
	})
	t.Run("too long", func(t *testing.T) {
		_, err := DecodeRequest(make([]byte, MaxPayload+1))
		require.ErrorIs(t, err, ErrTooLarge)
	})
}

// Newer clients may say more at the end of every list.
func TestTailsAreIgnored(t *testing.T) {
	got, err := DecodeRequest(raw(t, []any{uint(2), uint(2), vectorID[:], uint(5), []any{vectorCode[:], "", "new", []any{"x"}}, "", []any{"", uint(4), "new"}, "tail"}))
	require.NoError(t, err)
	require.Equal(t, &Confirm{Code: vectorCode}, got.Body)
	require.Equal(t, &LedgerQuery{Count: 4}, got.Ledger)
	rep, err := DecodeReply(raw(t, []any{uint(2), vectorID[:], uint(200), "text", uint(9), "why", uint(77), []any{"unknown"}, "", ledgerTail(), []any{successionTail()}, "tail"}))
	require.NoError(t, err)
	require.Equal(t, Reply{ID: vectorID, Code: 200, Text: "text", State: 9, Reason: "why", Ledger: vectorLedger(), Successions: []Succession{vectorSuccession()}}, rep)
	require.ErrorContains(t, rep.Error(), "code_200")
}

// ledgerTail is the ledger of the vectors, and an element more.
func ledgerTail() []any {
	l := vectorLedger()
	return []any{l.Secret[:], l.Log, uint(l.Since), uint(l.Begun), l.Topics[:], uint(l.Through), uint(l.At), uint(l.Count), l.Chain[:], l.Signature[:], l.Told, "new"}
}

// successionTail is the succession of the vectors, and an element more.
func successionTail() []any {
	s := vectorSuccession()
	return []any{s.Former[:], s.Next[:], uint(s.Begun), uint(s.Until), s.Signature[:], s.Consent[:], "new"}
}

// An older client may leave out what it does not know.
func TestMissingElementsAreZero(t *testing.T) {
	got, err := DecodeRequest(raw(t, []any{uint(2), uint(1), vectorID[:], uint(5), []any{uint(1), []any{[]any{"fcm", "t"}}, "", uint(1)}}))
	require.NoError(t, err)
	require.Equal(t, &Register{Version: 1, Routes: []Route{{Provider: "fcm", Address: []byte("t")}}, Plain: true}, got.Body)
	rep, err := DecodeReply(raw(t, []any{uint(2), vectorID[:]}))
	require.NoError(t, err)
	require.Equal(t, Reply{ID: vectorID}, rep)
	require.NoError(t, rep.Error())
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	for _, body := range []RequestBody{
		nil,
		&Register{},
		&Fetch{Hashes: make([]common.Hash, MaxFetch+1)},
		&Register{Version: 1, Plain: true, Routes: []Route{{Provider: "fcm", Address: make([]byte, MaxToken+1)}}},
		&Notify{Holder: ""},
	} {
		_, err := EncodeRequest(Request{Body: body})
		require.Error(t, err)
	}
	_, err := EncodeOffer(Offer{Limits: Limits{PoW: math.NaN()}})
	require.ErrorIs(t, err, ErrMalformed)
	big := &StatusReply{Channels: make([]Channel, 1<<15)}
	_, err = EncodeReply(Reply{Body: big})
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestReplyTextIsCut(t *testing.T) {
	b, err := EncodeReply(Reply{Code: BadAddress, Text: strings.Repeat("ü", MaxText)})
	require.NoError(t, err)
	rep, err := DecodeReply(b)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("ü", MaxText/2), rep.Text)
}

// A registration may have revoked more holders than one request names: its status
// tells them all.
func TestStatusNamesAllRevoked(t *testing.T) {
	all := &StatusReply{Revoked: make([]string, MaxHeldRevoked)}
	for i := range all.Revoked {
		all.Revoked[i] = strings.Repeat("x", MaxHolder)
	}
	b, err := EncodeReply(Reply{Body: all})
	require.NoError(t, err)
	rep, err := DecodeReply(b)
	require.NoError(t, err)
	require.Equal(t, all.Revoked, rep.Body.(*StatusReply).Revoked)
	all.Revoked = append(all.Revoked, "one too many")
	b, err = EncodeReply(Reply{Body: all})
	require.NoError(t, err)
	_, err = DecodeReply(b)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestSealedSizes(t *testing.T) {
	ctx := context.Background()
	registration, push := vectorRegistrationKey, vectorPushKey
	var lengths []int
	for _, channels := range []int{0, 1, 50, 56, 100, 1000, MaxChannels} {
		g := &Register{Version: 1, Plain: true, Routes: []Route{{Provider: "fcm", Address: make([]byte, 160)}}}
		for i := range channels {
			g.Channels = append(g.Channels, Channel{Topic: whisper.Topic{byte(i >> 8), byte(i)}, MutedUntil: math.MaxUint32})
		}
		env, err := SealRequest(ctx, NewRequest(g, time.Now()), registration, &push.PublicKey, 0)
		require.NoError(t, err)
		require.LessOrEqual(t, len(env.Data), MaxData)
		require.Equal(t, Topic(), env.Topic)
		lengths = append(lengths, len(env.Data)-eciesOverhead)
		got, signer, err := OpenRequest(env, push)
		require.NoError(t, err)
		require.True(t, signer.Equal(&registration.PublicKey))
		require.Equal(t, g, got.Body)
	}
	require.Equal(t, []int{1 << 10, 1 << 10, 1 << 10, 1 << 10, 4 << 10, 16 << 10, 64 << 10}, lengths)

	for _, body := range []RequestBody{&Status{}, &Unregister{Version: 1}, &Fetch{Hashes: vectorHashes}} {
		env, err := SealRequest(ctx, NewRequest(body, time.Now()), registration, &push.PublicKey, 0)
		require.NoError(t, err)
		require.Equal(t, 1<<10, len(env.Data)-eciesOverhead)
	}
	// A mail request of 8 bytes, padded the same way.
	env, err := whisper.Seal(ctx, whisper.Draft{Payload: make([]byte, 8), Padding: Padding(8), Sign: registration, To: &push.PublicKey})
	require.NoError(t, err)
	require.Equal(t, 1<<10, len(env.Data)-eciesOverhead)
	// The same to a password.
	for _, n := range []int{8, 255, 256, 300, 2000, 20000} {
		env, err := whisper.Seal(ctx, whisper.Draft{Payload: make([]byte, n), Padding: Padding(n), Sign: registration, To: &push.PublicKey})
		require.NoError(t, err)
		alike, err := whisper.Seal(ctx, whisper.Draft{Payload: make([]byte, n), Padding: SymmetricPadding(n), Sign: registration, Key: make([]byte, whisper.SymmetricKeySize)})
		require.NoError(t, err)
		require.Equal(t, len(env.Data), len(alike.Data), n)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	other, err := crypto.GenerateKey()
	require.NoError(t, err)
	rep, err := SealReply(ctx, Reply{ID: vectorID}, other, &vectorRegistrationKey.PublicKey)
	require.NoError(t, err)
	_, err = OpenReply(rep, vectorRegistrationKey, &vectorPushKey.PublicKey)
	require.ErrorIs(t, err, ErrSigner)
	_, err = OpenReply(rep, other, &vectorPushKey.PublicKey)
	require.ErrorIs(t, err, whisper.ErrCannotOpen)

	unsigned, err := whisper.Seal(ctx, whisper.Draft{Payload: []byte{0xc0}, To: &vectorPushKey.PublicKey})
	require.NoError(t, err)
	_, signer, err := OpenRequest(unsigned, vectorPushKey)
	require.ErrorIs(t, err, ErrSigner)
	require.Nil(t, signer)

	garbage, err := whisper.Seal(ctx, whisper.Draft{Payload: []byte("hello"), To: &vectorPushKey.PublicKey, Sign: other})
	require.NoError(t, err)
	_, signer, err = OpenRequest(garbage, vectorPushKey)
	require.ErrorIs(t, err, ErrMalformed)
	require.NotNil(t, signer)

	_, _, err = OpenRequest(&whisper.Envelope{Data: make([]byte, MaxData+1)}, vectorPushKey)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestNotifyProof(t *testing.T) {
	other := vectorAccount // of another server
	n := NewNotify(Capability(vectorRoot, "alice"), vectorHandle, "alice", vectorHashes[0], NotifyMention, vectorServer)
	require.True(t, n.Verify(vectorRoot, vectorServer))
	require.False(t, n.Verify(vectorRoot, other), "it rings at no other server")
	require.True(t, unboundNotify().Verify(vectorRoot, other), "of a sender of before 2027")
	require.False(t, n.Verify(bytes.Repeat([]byte{1}, RootSize), vectorServer))
	for _, change := range []func(*Notify){
		func(n *Notify) { n.Holder = "bob" },
		func(n *Notify) { n.Hash[0]++ },
		func(n *Notify) { n.Type = NotifyMessage },
		func(n *Notify) { n.Proof[31]++ },
	} {
		forged := *n
		change(&forged)
		require.False(t, forged.Verify(vectorRoot, vectorServer))
	}
}

// What is made for one server and one account means nothing at another.
func TestNothingIsOfUseElsewhere(t *testing.T) {
	ctx := t.Context()
	another, err := crypto.GenerateKey()
	require.NoError(t, err)

	env, err := SealRequest(ctx, NewRequest(&Status{}, time.Now()), vectorRegistrationKey, &vectorPushKey.PublicKey, 0)
	require.NoError(t, err)
	req, signer, err := OpenRequest(env, vectorPushKey)
	require.NoError(t, err)
	require.True(t, signer.Equal(&vectorRegistrationKey.PublicKey))
	m, err := env.OpenAsymmetric(vectorPushKey)
	require.NoError(t, err)
	handedOn := reseal(t, m.Payload, vectorRegistrationKey, &another.PublicKey)
	req2, signer, err := OpenRequest(handedOn, another)
	require.ErrorIs(t, err, ErrServer)
	require.Equal(t, WrongServer, CodeFor(err))
	require.Equal(t, req.ID, req2.ID, "so that the refusal can name it")
	require.Nil(t, req2.Body)
	require.NotNil(t, signer)

	env, err = SealReply(ctx, Reply{State: Active}, vectorPushKey, &vectorRegistrationKey.PublicKey)
	require.NoError(t, err)
	_, err = OpenReply(env, vectorRegistrationKey, &vectorPushKey.PublicKey)
	require.NoError(t, err)
	m, err = env.OpenAsymmetric(vectorRegistrationKey)
	require.NoError(t, err)
	_, err = OpenReply(reseal(t, m.Payload, vectorPushKey, &another.PublicKey), another, &vectorPushKey.PublicKey)
	require.ErrorIs(t, err, ErrReceiver)

	confirm := NewConfirm(vectorCode, vectorServer, vectorAccount)
	require.True(t, confirm.Proves(vectorCode, vectorServer, vectorAccount))
	require.False(t, confirm.Proves(vectorCode, vectorAccount, vectorAccount), "another server")
	require.False(t, confirm.Proves(vectorCode, vectorServer, vectorServer), "another account")
	require.False(t, confirm.Proves([CodeSize]byte{}, vectorServer, vectorAccount), "another code")
	require.False(t, confirm.Proves(confirm.Code, vectorServer, vectorAccount), "the zeros beside the proof are no code")
	require.True(t, (&Confirm{Code: vectorCode}).Proves(vectorCode, vectorServer, vectorAccount), "of a device of before 2027")

	challenge := Payload{Kind: Challenge, Code: vectorCode[:], Server: vectorServer[:], Account: vectorAccount[:]}
	require.True(t, challenge.Names(Binding{vectorServer, vectorAccount}))
	require.False(t, challenge.Names(Binding{vectorAccount, vectorAccount}))
	require.False(t, challenge.Names(Binding{vectorServer, vectorServer}))
	require.False(t, (&Payload{Kind: Challenge, Code: vectorCode[:]}).Names(Binding{}), "one that names nobody")
}

// reseal encrypts a signed message to somebody else, as its receiver could if
// signatures covered nothing but the payload.
func reseal(t *testing.T, payload []byte, from *ecdsa.PrivateKey, to *ecdsa.PublicKey) *whisper.Envelope {
	env, err := seal(t.Context(), payload, from, to, 0)
	require.NoError(t, err)
	return env
}

func TestPayloadSizeIsConstant(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	require.NoError(t, CheckSealKey(public))
	bodies := make(map[string]bool)
	for _, p := range []Payload{
		{Kind: Canary},
		{Kind: Messages, Seq: math.MaxUint64, More: true, Hashes: make([]common.Hash, MaxHashes)},
		{Kind: Messages, Seq: 1, Hashes: vectorHashes},
		{Kind: Challenge, Code: vectorCode[:]},
	} {
		body, err := SealPayload(p, public)
		require.NoError(t, err)
		require.Len(t, body, BodySize)
		require.True(t, json.Valid(body))
		require.False(t, bodies[string(body)])
		bodies[string(body)] = true
		got, err := OpenPayload(body, private)
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	_, err = SealPayload(Payload{Kind: Messages, Hashes: make([]common.Hash, MaxHashes+1)}, public)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = SealPayload(Payload{Kind: Challenge}, public)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = SealPayload(Payload{Kind: Messages, Code: vectorCode[:]}, public)
	require.ErrorIs(t, err, ErrMalformed)
	require.Error(t, CheckSealKey(make([]byte, SealKeySize)), "a point of small order")
	require.Error(t, CheckSealKey(public[1:]))
	_, err = SealPayload(Payload{Kind: Canary}, make([]byte, SealKeySize))
	require.Error(t, err)
}

// What one sealer seals has nothing in common, and each opens by itself, in any order.
func TestSealerRepeatsNothing(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	sealer, err := NewSealer(public)
	require.NoError(t, err)
	seen := make(map[[8]byte]int)
	var bodies [][]byte
	for i := range 20 {
		body, err := sealer.Seal(Payload{Kind: Messages, Seq: uint64(i) + 1, Hashes: vectorHashes})
		require.NoError(t, err)
		bodies = append(bodies, body)
		var fields struct{ P []byte }
		require.NoError(t, json.Unmarshal(body, &fields))
		for at := 0; at+8 <= len(fields.P); at++ {
			run := [8]byte(fields.P[at:])
			other, ok := seen[run]
			require.False(t, ok && other != i, "payloads %d and %d share 8 bytes", other, i)
			seen[run] = i
		}
	}
	for i, body := range slices.Backward(bodies) {
		p, err := OpenPayload(body, private)
		require.NoError(t, err)
		require.EqualValues(t, i+1, p.Seq)
	}
}

func TestSealedPart(t *testing.T) {
	_, public, err := NewSealKey()
	require.NoError(t, err)
	body, err := SealPayload(Payload{Kind: Canary}, public)
	require.NoError(t, err)
	var fields struct {
		P json.RawMessage `json:"p"`
	}
	require.NoError(t, json.Unmarshal(body, &fields))
	part, ok := SealedPart(body)
	require.True(t, ok)
	require.Equal(t, string(fields.P), string(part))

	plain, err := PlainPayload(Payload{Kind: Canary})
	require.NoError(t, err)
	other := [][]byte{nil, plain, body[1:], slices.Concat(body, []byte(" "))}
	for _, at := range []int{0, 5, 11, 12, 700, BodySize - 3, BodySize - 2, BodySize - 1} {
		for _, c := range []byte{'"', '\\', '\n', ' ', 0} {
			if changed := slices.Clone(body); changed[at] != c {
				changed[at] = c
				other = append(other, changed)
			}
		}
	}
	for _, body := range other {
		_, ok := SealedPart(body)
		require.False(t, ok, "%q", body)
	}
	require.Zero(t, testing.AllocsPerRun(10, func() { SealedPart(body) }))
}

func TestOpenPayloadRefuses(t *testing.T) {
	private, public, err := NewSealKey()
	require.NoError(t, err)
	sealed, err := SealPayload(Payload{Kind: Canary}, public)
	require.NoError(t, err)
	other, _, err := NewSealKey()
	require.NoError(t, err)
	short := base64.StdEncoding.EncodeToString(make([]byte, SealedSize-1))
	flip := func(at int) string {
		flipped := slices.Clone(sealed)
		if flipped[at] = 'A'; sealed[at] == 'A' {
			flipped[at] = 'B'
		}
		return string(flipped)
	}
	for _, c := range []struct {
		name string
		body string
		key  []byte
		want error
	}{
		{"other key", string(sealed), other, ErrCannotOpen},
		{"no key", string(sealed), nil, ErrCannotOpen},
		{"key too short", string(sealed), private[1:], ErrCannotOpen},
		{"nonce changed", flip(len(`{"v":2,"p":"`)), private, ErrCannotOpen},
		{"encapsulated key changed", flip(len(`{"v":2,"p":"`) + 24*4/3 + 1), private, ErrCannotOpen},
		{"hashes changed", flip(700), private, ErrCannotOpen},
		{"plain for a device with a key", `{"v":2,"k":1,"s":1}`, private, ErrMalformed},
		{"short", `{"v":2,"p":"` + short + `"}`, private, ErrMalformed},
		{"version 3", `{"v":3,"k":1}`, nil, ErrVersion},
		{"no version", `{"k":1}`, nil, ErrVersion},
		{"no JSON", `v=2`, nil, ErrMalformed},
		{"too long", strings.Repeat(" ", maxBody+1), nil, ErrTooLarge},
		{"kind out of range", `{"v":2,"k":256}`, nil, ErrMalformed},
		{"code in messages", `{"v":2,"k":1,"c":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"}`, nil, ErrMalformed},
		{"challenge without code", `{"v":2,"k":2}`, nil, ErrMalformed},
		{"hash too short", `{"v":2,"k":1,"h":["0xaa"]}`, nil, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenPayload([]byte(c.body), c.key)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// FCM and others carry strings only.
func TestPlainPayloadOfStrings(t *testing.T) {
	h := vectorHashes[0].Hex()
	got, err := OpenPayload([]byte(`{"v":"2","k":"1","s":"7","m":"1","h":"[\"`+h+`\"]"}`), nil)
	require.NoError(t, err)
	require.Equal(t, Payload{Kind: Messages, Seq: 7, More: true, Hashes: vectorHashes[:1]}, got)
}

func TestOffer(t *testing.T) {
	env, err := SealOffer(context.Background(), vectorOffer(), vectorPushKey, time.Hour, 0)
	require.NoError(t, err)
	require.EqualValues(t, 3600, env.TTL)
	o, signer, err := OpenOffer(env)
	require.NoError(t, err)
	require.True(t, signer.Equal(&vectorPushKey.PublicKey))
	require.Equal(t, vectorOffer(), o)
}

func TestNames(t *testing.T) {
	require.Equal(t, "notify", KindNotify.String())
	require.Equal(t, "unknown", RequestKind(0).String())
	require.Equal(t, "work", Work.String())
	require.Equal(t, "code_99", Code(99).String())
	require.Equal(t, "active", Active.String())
	require.Equal(t, "state_99", State(99).String())
	require.Equal(t, "removed", Removed.String())
	require.Equal(t, "dismiss", Dismiss.String())
}
