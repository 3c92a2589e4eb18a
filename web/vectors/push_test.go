package vectors

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// pushVectors are messages of the push protocol. Envelopes of requests are signed by the
// registration key and encrypted to the push key, those of replies the other way.
type pushVectors struct {
	PushKey         hexutil.Bytes `json:"pushKey"` // the three are private
	RegistrationKey hexutil.Bytes `json:"registrationKey"`
	SealKey         hexutil.Bytes `json:"sealKey"`

	Requests []pushVector    `json:"requests"`
	Replies  []pushVector    `json:"replies"`
	Offers   []pushVector    `json:"offers"`
	Payloads []payloadVector `json:"payloads"`
}

// pushVector is a message, its encoding, and an envelope with it.
type pushVector struct {
	Name     string          `json:"name"`
	Value    json.RawMessage `json:"value"`
	Payload  hexutil.Bytes   `json:"payload"`
	Envelope hexutil.Bytes   `json:"envelope"`
}

// payloadVector is a wake-up, in both forms.
type payloadVector struct {
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
	Sealed string          `json:"sealed"`
	Plain  string          `json:"plain"`
}

const issued = 1_800_000_000_000

var (
	hashA = common.Hash(repeated(0xaa, 32))
	hashB = common.Hash(repeated(0xbb, 32))
	code  = [pushwire.CodeSize]byte(repeated(0xc0, pushwire.CodeSize))

	limits   = pushwire.Limits{Routes: 4, Channels: 1 << 63, Lifetime: 2592000, Fetch: 64, PoW: 0.002}
	standing = pushwire.Standing{Now: issued, Epoch: 1<<64 - 1, Log: repeated(9, 16)}
)

func compressed(key *ecdsa.PrivateKey) [pushwire.PushKeySize]byte {
	return [pushwire.PushKeySize]byte(crypto.CompressPubkey(&key.PublicKey))
}

func bodies(pushKey, registrationKey *ecdsa.PrivateKey) map[string]pushwire.RequestBody {
	many := make([]pushwire.Channel, 150)
	for i := range many {
		many[i] = pushwire.Channel{Topic: whisper.Topic{byte(i), byte(i >> 8), 0x7f, 0}, Mode: pushwire.Mode(i % 3), MutedUntil: uint64(i) << 40}
	}
	root := repeated(0x0b, pushwire.RootSize)
	handle := [pushwire.HandleSize]byte(repeated(0x4a, pushwire.HandleSize))
	return map[string]pushwire.RequestBody{
		"register": &pushwire.Register{
			Version: 7,
			Routes: []pushwire.Route{
				{Provider: "webpush", Address: []byte("https://push.example/ä"), Keys: [][]byte{repeated(4, 65), repeated(5, 16)}},
				{Provider: "direct", Address: repeated(2, 33)},
			},
			SealKey:     repeated(3, 32),
			Channels:    []pushwire.Channel{{Topic: whisper.Topic{1, 2, 3, 4}, Mode: pushwire.Muted, MutedUntil: 1<<64 - 1}},
			Lifetime:    604800,
			Group:       []byte("family"),
			Preferences: pushwire.Preferences{Root: root, Handle: handle[:], Revoked: []string{"eve", "größer", "🍝"}},
		},
		"register, plain":           &pushwire.Register{Version: 1<<64 - 1, Routes: []pushwire.Route{{Provider: "x", Address: []byte{0}}}, Plain: true},
		"register, of 150 channels": &pushwire.Register{Version: 1, Routes: []pushwire.Route{{Provider: "x", Address: []byte{0x80}, Keys: [][]byte{{}, {0}}}}, SealKey: repeated(3, 32), Channels: many},
		"confirm":                   pushwire.NewConfirm(code, compressed(pushKey), compressed(registrationKey)),
		"confirm, the code":         &pushwire.Confirm{Code: code},
		"channels":                  &pushwire.Channels{Version: 8, Channels: []pushwire.Channel{{Mode: pushwire.Removed}, {Topic: whisper.Topic{3: 4}}}, Revoked: []string{"mallory"}},
		"channels, none":            &pushwire.Channels{Version: 8},
		"unregister":                &pushwire.Unregister{Version: 9},
		"status":                    &pushwire.Status{},
		"fetch":                     &pushwire.Fetch{Hashes: []common.Hash{hashA, hashB}},
		"fetch, received":           &pushwire.Fetch{Received: []common.Hash{hashB}},
		"seen":                      &pushwire.Seen{Hashes: []common.Hash{hashA}},
		"notify":                    pushwire.NewNotify(pushwire.Capability(root, "älice"), handle, "älice", hashA, pushwire.NotifyMention, compressed(pushKey)),
	}
}

func replyVectors() map[string]pushwire.Reply {
	id := [pushwire.IDSize]byte(repeated(0x1d, pushwire.IDSize))
	return map[string]pushwire.Reply{
		"register": {ID: id, State: pushwire.Waiting, Body: &pushwire.RegisterReply{Version: 7, Expires: 1800604800, Challenged: true, Limits: limits, Standing: standing}},
		"stale":    {ID: id, Code: pushwire.Stale, Text: "größer, bitte", Body: &pushwire.RegisterReply{Version: 1<<64 - 1}},
		"status": {ID: id, State: pushwire.Dead, Reason: "fcm 404 UNREGISTERED", Body: &pushwire.StatusReply{
			Version: 7, Expires: 1800604800, Seq: 1 << 60, Plain: true,
			Routes:   []pushwire.RouteStatus{{Provider: "fcm", State: pushwire.Dead, Reason: "gone"}, {Provider: "webpush", State: pushwire.Active, Doubt: 1_800_000_000}},
			Channels: []pushwire.Channel{{Topic: whisper.Topic{1}, Mode: pushwire.Mentions}}, Revoked: []string{"eve"}, Limits: limits, Standing: standing,
		}},
		"fetch":     {ID: id, State: pushwire.Active, Body: &pushwire.FetchReply{Sent: []common.Hash{hashA}, Missing: []common.Hash{hashB}, Later: []common.Hash{{}}}},
		"clock":     {ID: id, Code: pushwire.Clock, Body: &pushwire.ClockReply{Now: issued}},
		"ring":      {State: pushwire.Active, Body: &pushwire.Ring{Body: []byte(`{"v":2,"k":4}`)}},
		"confirmed": {ID: id, State: pushwire.Active},
		"confirmed, with a ledger": {ID: id, State: pushwire.Active, Ledger: &pushwire.Ledger{
			Secret: [pushwire.LedgerSecretSize]byte(repeated(0x5c, 16)), Signature: [pushwire.SignatureSize]byte(repeated(0x51, 64)), Told: []common.Hash{hashA, hashB},
			Head: pushwire.Head{Log: standing.Log, Since: 1 << 40, Begun: issued, Topics: hashA, Through: 1<<40 + 3, At: issued + 1, Count: 1<<64 - 1, Chain: hashB},
		}},
		"retired": {ID: id, Code: pushwire.Retired, Text: "another push key", Successions: []pushwire.Succession{succession, succession}},
		"fetch, with a succession": {ID: id, State: pushwire.Active, Body: &pushwire.FetchReply{Sent: []common.Hash{hashA}}, Ledger: &pushwire.Ledger{
			Secret: [pushwire.LedgerSecretSize]byte(repeated(0x5c, 16)), Signature: [pushwire.SignatureSize]byte(repeated(0x51, 64)), Told: []common.Hash{hashA},
			Head: pushwire.Head{Count: 1},
		}, Successions: []pushwire.Succession{succession}},
		"unknown code": {ID: id, Code: 200, State: 100, Text: strings.Repeat("é", 128)},
	}
}

// succession has the form of one; its signatures are not.
var succession = pushwire.Succession{
	Former: [pushwire.PushKeySize]byte(repeated(2, pushwire.PushKeySize)), Next: [pushwire.PushKeySize]byte(repeated(3, pushwire.PushKeySize)),
	Begun: 1_800_000_000, Until: 1<<64 - 1,
	Signature: [pushwire.SignatureSize]byte(repeated(0x51, 64)), Consent: [pushwire.SignatureSize]byte(repeated(0x52, 64)),
}

func offerVectors() map[string]pushwire.Offer {
	return map[string]pushwire.Offer{
		"full": {
			Issued: 1_800_000_000, Expires: 1_800_003_600, Enode: "enode://abc@192.0.2.1:30303",
			Providers: []pushwire.ProviderOffer{{Name: "fcm", Info: "1234"}, {Name: "webpush", Info: "BL…"}}, Limits: limits, Price: "one euro a month",
		},
		"empty":      {},
		"succession": {Issued: 1, Expires: 2, Limits: limits, Successions: []pushwire.Succession{succession}},
	}
}

func payloadVectors(pushKey, registrationKey *ecdsa.PrivateKey) map[string]pushwire.Payload {
	server, account := compressed(pushKey), compressed(registrationKey)
	full := make([]common.Hash, pushwire.MaxHashes)
	for i := range full {
		full[i] = common.Hash(repeated(byte(i), 32))
	}
	return map[string]pushwire.Payload{
		"messages":           {Kind: pushwire.Messages, Seq: 12, More: true, Hashes: []common.Hash{hashA, hashB}},
		"messages, full":     {Kind: pushwire.Messages, Seq: 1<<53 - 1, Hashes: full},
		"challenge":          {Kind: pushwire.Challenge, Code: code[:], Server: server[:], Account: account[:]},
		"challenge, unbound": {Kind: pushwire.Challenge, Code: code[:]},
		"dismiss":            {Kind: pushwire.Dismiss, Hashes: []common.Hash{hashB}},
		"canary":             {Kind: pushwire.Canary},
		"of the future":      {Kind: 200},
	}
}

// request is a request as TypeScript has it: the body tells its kind.
func request(r pushwire.Request) any {
	all := plain(reflect.ValueOf(r)).(map[string]any)
	all["body"].(map[string]any)["kind"] = r.Body.Kind().String()
	return all
}

// reply is a reply as TypeScript has it: the body tells its kind.
func reply(r pushwire.Reply) any {
	all := plain(reflect.ValueOf(r)).(map[string]any)
	if r.Body != nil {
		name := reflect.TypeOf(r.Body).Elem().Name()
		all["body"].(map[string]any)["kind"] = strings.ToLower(strings.TrimSuffix(name, "Reply"))
	}
	return all
}

func jsonOf(t *testing.T, v any) json.RawMessage {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}

// sameJSON compares what a file says with a value.
func sameJSON(t *testing.T, want json.RawMessage, got any) {
	t.Helper()
	require.JSONEq(t, string(want), string(jsonOf(t, got)))
}

func TestWritePushVectors(t *testing.T) {
	if !*update {
		t.Skip("testdata/go is written with -update only")
	}
	all := pushVectors{PushKey: repeated(0x45, 32), RegistrationKey: repeated(0x71, 32), SealKey: repeated(0x5e, 32)}
	pushKey, registrationKey := key(t, all.PushKey), key(t, all.RegistrationKey)
	requests, replies, payloads := bodies(pushKey, registrationKey), replyVectors(), payloadVectors(pushKey, registrationKey)
	for _, name := range sortedNames(requests) {
		env, err := pushwire.SealRequest(t.Context(), pushwire.NewRequest(requests[name], time.UnixMilli(issued)), registrationKey, &pushKey.PublicKey, pushwire.DefaultPoW)
		require.NoError(t, err)
		opened, _, err := pushwire.OpenRequest(env, pushKey)
		require.NoError(t, err)
		payload, err := pushwire.EncodeRequest(opened)
		require.NoError(t, err)
		all.Requests = append(all.Requests, pushVector{name, jsonOf(t, request(opened)), payload, env.Raw()})
	}
	for _, name := range sortedNames(replies) {
		env, err := pushwire.SealReply(t.Context(), replies[name], pushKey, &registrationKey.PublicKey)
		require.NoError(t, err)
		opened, err := pushwire.OpenReply(env, registrationKey, &pushKey.PublicKey)
		require.NoError(t, err)
		payload, err := pushwire.EncodeReply(opened)
		require.NoError(t, err)
		all.Replies = append(all.Replies, pushVector{name, jsonOf(t, reply(opened)), payload, env.Raw()})
	}
	for _, name := range sortedNames(offerVectors()) {
		offer := offerVectors()[name]
		env, err := pushwire.SealOffer(t.Context(), offer, pushKey, time.Minute, 0)
		require.NoError(t, err)
		payload, err := pushwire.EncodeOffer(offer)
		require.NoError(t, err)
		all.Offers = append(all.Offers, pushVector{name, jsonOf(t, plain(reflect.ValueOf(offer))), payload, env.Raw()})
	}
	sealPublic := sealPublicKey(t, all.SealKey)
	for _, name := range sortedNames(payloads) {
		sealed, err := pushwire.SealPayload(payloads[name], sealPublic)
		require.NoError(t, err)
		bare, err := pushwire.PlainPayload(payloads[name])
		require.NoError(t, err)
		all.Payloads = append(all.Payloads, payloadVector{name, jsonOf(t, plain(reflect.ValueOf(payloads[name]))), string(sealed), string(bare)})
	}
	write(t, "push.json", all)
}

func TestPushVectors(t *testing.T) {
	ofBoth(t, func(t *testing.T, writer string) {
		all := read[pushVectors](t, writer, "push.json")
		pushKey, registrationKey := key(t, all.PushKey), key(t, all.RegistrationKey)
		require.GreaterOrEqual(t, len(all.Requests), 13)
		for _, v := range all.Requests {
			t.Run("request "+v.Name, func(t *testing.T) {
				env := decode(t, v.Envelope)
				require.GreaterOrEqual(t, env.PoW(time.Unix(int64(env.Sent()), 0)), pushwire.DefaultPoW)
				requireSized(t, env)
				opened, signer, err := pushwire.OpenRequest(env, pushKey)
				require.NoError(t, err)
				require.True(t, signer.Equal(&registrationKey.PublicKey))
				sameJSON(t, v.Value, request(opened))
				payload, err := pushwire.EncodeRequest(opened)
				require.NoError(t, err)
				require.Equal(t, v.Payload.String(), hexutil.Encode(payload))
				requireProofs(t, opened, pushKey, registrationKey)
			})
		}
		require.GreaterOrEqual(t, len(all.Replies), 8)
		for _, v := range all.Replies {
			t.Run("reply "+v.Name, func(t *testing.T) {
				env := decode(t, v.Envelope)
				requireSized(t, env)
				opened, err := pushwire.OpenReply(env, registrationKey, &pushKey.PublicKey)
				require.NoError(t, err)
				sameJSON(t, v.Value, reply(opened))
				payload, err := pushwire.EncodeReply(opened)
				require.NoError(t, err)
				require.Equal(t, v.Payload.String(), hexutil.Encode(payload))
			})
		}
		require.NotEmpty(t, all.Offers)
		for _, v := range all.Offers {
			t.Run("offer "+v.Name, func(t *testing.T) {
				opened, signer, err := pushwire.OpenOffer(decode(t, v.Envelope))
				require.NoError(t, err)
				require.True(t, signer.Equal(&pushKey.PublicKey))
				sameJSON(t, v.Value, plain(reflect.ValueOf(opened)))
				payload, err := pushwire.EncodeOffer(opened)
				require.NoError(t, err)
				require.Equal(t, v.Payload.String(), hexutil.Encode(payload))
			})
		}
		require.NotEmpty(t, all.Payloads)
		for _, v := range all.Payloads {
			t.Run("payload "+v.Name, func(t *testing.T) {
				require.Len(t, v.Sealed, pushwire.BodySize)
				opened, err := pushwire.OpenPayload([]byte(v.Sealed), all.SealKey)
				require.NoError(t, err)
				sameJSON(t, v.Value, plain(reflect.ValueOf(opened)))
				opened, err = pushwire.OpenPayload([]byte(v.Plain), nil)
				require.NoError(t, err)
				sameJSON(t, v.Value, plain(reflect.ValueOf(opened)))
				bare, err := pushwire.PlainPayload(opened)
				require.NoError(t, err)
				require.Equal(t, v.Plain, string(bare))
			})
		}
	})
}

func decode(t *testing.T, raw []byte) *whisper.Envelope {
	env, err := whisper.DecodeEnvelope(raw)
	require.NoError(t, err)
	return env
}

// requireSized checks that the data is as long as that of other requests and replies.
func requireSized(t *testing.T, env *whisper.Envelope) {
	var sizes []int
	for _, class := range pushwire.SizeClasses {
		sizes = append(sizes, class+pushwire.MaxData-pushwire.MaxPlaintext)
	}
	require.Contains(t, sizes, len(env.Data))
}

// requireProofs checks the proofs of the requests that have one.
func requireProofs(t *testing.T, r pushwire.Request, pushKey, registrationKey *ecdsa.PrivateKey) {
	server, account := compressed(pushKey), compressed(registrationKey)
	switch body := r.Body.(type) {
	case *pushwire.Confirm:
		require.True(t, body.Proves(code, server, account))
		require.False(t, body.Proves([pushwire.CodeSize]byte{}, server, account))
	case *pushwire.Notify:
		require.True(t, body.Verify(repeated(0x0b, pushwire.RootSize), server))
		require.False(t, body.Verify(repeated(0x0c, pushwire.RootSize), server))
	}
}

// sealPublicKey is the public half of a seal key.
func sealPublicKey(t *testing.T, private []byte) []byte {
	key, err := ecdh.X25519().NewPrivateKey(private)
	require.NoError(t, err)
	return key.PublicKey().Bytes()
}
