package pushwire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/whisper"
)

var update = flag.Bool("update", false, "write testdata/vectors.txt anew; what was sealed before stays")

const vectorFile = "testdata/vectors.txt"

// Keys of the vectors; nobody else should use them.
var (
	vectorPushKey         = mustKey("4545454545454545454545454545454545454545454545454545454545454545")
	vectorNextKey         = mustKey("4646464646464646464646464646464646464646464646464646464646464646")
	vectorRegistrationKey = mustKey("7171717171717171717171717171717171717171717171717171717171717171")
	vectorSealPrivate     = bytes.Repeat([]byte{0x5e}, SealKeySize)
	vectorRoot            = bytes.Repeat([]byte{0x0b}, RootSize)
	vectorHandle          = [HandleSize]byte(bytes.Repeat([]byte{0x4a}, HandleSize))
	vectorCode            = [CodeSize]byte(bytes.Repeat([]byte{0xc0}, CodeSize))
	vectorID              = [IDSize]byte(bytes.Repeat([]byte{0x1d}, IDSize))
	vectorHashes          = []common.Hash{{0xaa, 31: 0x01}, {0xbb, 31: 0x02}}
)

var (
	vectorServer   = [PushKeySize]byte(crypto.CompressPubkey(&vectorPushKey.PublicKey))
	vectorAccount  = [PushKeySize]byte(crypto.CompressPubkey(&vectorRegistrationKey.PublicKey))
	vectorStanding = Standing{Now: vectorIssued, Epoch: 7, Log: bytes.Repeat([]byte{0x10}, MaxLogID)}
)

const vectorIssued = 1_800_000_000_000

func mustKey(s string) *ecdsa.PrivateKey {
	key, err := crypto.HexToECDSA(s)
	if err != nil {
		panic(err)
	}
	return key
}

var (
	vectorSealPublic = mustSealPublic(vectorSealPrivate)
	vectorChain      = mustChain(vectorSealPrivate, 2)
)

func mustSealPublic(private []byte) []byte {
	key, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		panic(err)
	}
	return key.PublicKey().Bytes()
}

func mustChain(private []byte, version uint64) [ChainSize]byte {
	start, err := ChainStart(private, version)
	if err != nil {
		panic(err)
	}
	return start
}

var vectorLimits = Limits{Routes: 4, Channels: 1000, Lifetime: 2592000, Fetch: 64, PoW: 0.2}

func vectorRequests() []vector[Request] {
	request := func(body RequestBody) Request {
		return Request{ID: vectorID, Issued: vectorIssued, Body: body}
	}
	return []vector[Request]{
		{"register", `version 7; routes: fcm with the token "example-token", webpush with a URL and two keys; seal key 32 × 03;
channels: 0x5a4ea131 every, 0x00000001 mentions, 0x00000002 muted until 1800003600; lifetime 604800; group "family";
preferences: root 32 × 0b, handle 16 × 4a, revoked "eve"`, request(&Register{
			Version: 7,
			Routes: []Route{
				{Provider: "fcm", Address: []byte("example-token")},
				{Provider: "webpush", Address: []byte("https://push.example/abc"), Keys: [][]byte{{4, 1, 2}, {9, 8}}},
			},
			SealKey: bytes.Repeat([]byte{3}, SealKeySize),
			Channels: []Channel{
				{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}, Mode: Every},
				{Topic: whisper.Topic{3: 1}, Mode: Mentions},
				{Topic: whisper.Topic{3: 2}, Mode: Muted, MutedUntil: 1800003600},
			},
			Lifetime:    604800,
			Group:       []byte("family"),
			Preferences: Preferences{Root: vectorRoot, Handle: vectorHandle[:], Revoked: []string{"eve"}},
		})},
		{"register-plain", `version 1; route fcm with the token "example-token"; plain; channel 0x5a4ea131; nothing else`, request(&Register{
			Version:  1,
			Routes:   []Route{{Provider: "fcm", Address: []byte("example-token")}},
			Plain:    true,
			Channels: []Channel{{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}}},
		})},
		{"register-chain", `version 2; route fcm with the token "example-token"; the public seal key, and the start of its chain; channel 0x5a4ea131`, request(&Register{
			Version:  2,
			Routes:   []Route{{Provider: "fcm", Address: []byte("example-token")}},
			SealKey:  vectorSealPublic,
			Channels: []Channel{{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}}},
			Chain:    vectorChain[:],
		})},
		{"register-voucher", `version 3; route fcm with the token "example-token"; the public seal key, no chain; channel 0x5a4ea131; voucher "paid"`, request(&Register{
			Version:  3,
			Routes:   []Route{{Provider: "fcm", Address: []byte("example-token")}},
			SealKey:  vectorSealPublic,
			Channels: []Channel{{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}}},
			Voucher:  []byte("paid"),
		})},
		{"confirm", "code 16 × c0", request(&Confirm{Code: vectorCode})},
		{"channels", "version 8; 0x5a4ea131 removed, 0x00000004 every; revoked \"mallory\"", request(&Channels{
			Version:  8,
			Channels: []Channel{{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}, Mode: Removed}, {Topic: whisper.Topic{3: 4}}},
			Revoked:  []string{"mallory"},
		})},
		{"unregister", "version 9", request(&Unregister{Version: 9})},
		{"status", "no fields", request(&Status{})},
		{"status-test", "in detail, with a test push on every route", request(&Status{Detail: &StatusDetail{Test: true}})},
		{"fetch", "the hashes aa00…01 and bb00…02", request(&Fetch{Hashes: vectorHashes})},
		{"seen", "the hash bb00…02", request(&Seen{Hashes: vectorHashes[1:]})},
		{"notify", `holder "alice" of root 32 × 0b; handle 16 × 4a; hash aa00…01; kind mention`,
			request(unboundNotify())},
		{"confirm-bound", "zeros, and the proof for the code 16 × c0; made for the push key", bound(request(NewConfirm(vectorCode, vectorServer, vectorAccount)))},
		{"fetch-received", "the hash aa00…01, and bb00…02 received by another way; made for the push key", bound(request(&Fetch{Hashes: vectorHashes[:1], Received: vectorHashes[1:]}))},
		{"fetch-owed", "the hash aa00…01, none received; asks what is owed, and bb00…02 was dismissed; made for the push key",
			bound(request(&Fetch{Hashes: vectorHashes[:1], Owed: &OwedQuery{Dismissed: vectorHashes[1:]}}))},
		{"status-ledger", "asks for the ledger with the secret 16 × 5c, of which it has 1 hash; made for the push key", withLedger(bound(request(&Status{})))},
		{"notify-bound", `as notify, with a proof for the push key; made for the push key`,
			bound(request(NewNotify(Capability(vectorRoot, "alice"), vectorHandle, "alice", vectorHashes[0], NotifyMention, vectorServer)))},
	}
}

// unboundNotify is that of a sender of before 2027.
func unboundNotify() *Notify {
	n := &Notify{Handle: vectorHandle, Holder: "alice", Hash: vectorHashes[0], Type: NotifyMention}
	n.Proof = n.prove(Capability(vectorRoot, "alice"), nil)
	return n
}

func bound(req Request) Request {
	req.Server = vectorServer[:]
	return req
}

func withLedger(req Request) Request {
	req.Ledger = &LedgerQuery{Secret: vectorLedger().Secret[:], Count: 1}
	return req
}

// vectorLedger has the two hashes in its chain, and tells of the second.
func vectorLedger() *Ledger {
	secret := [LedgerSecretSize]byte(bytes.Repeat([]byte{0x5c}, LedgerSecretSize))
	l := &Ledger{Secret: secret, Told: vectorHashes[1:], Head: Head{
		Log: vectorStanding.Log, Since: 100, Begun: vectorIssued - 60_000, Through: 200, At: vectorIssued, Count: 2,
		Topics: LedgerTopics(TopicLeaves(secret, []whisper.Topic{{0x5a, 0x4e, 0xa1, 0x31}, {3: 1}})),
		Chain:  ChainBegin(LedgerID(secret)),
	}}
	for _, h := range vectorHashes {
		l.Chain = ChainNext(l.Chain, h)
	}
	if err := l.Sign(vectorPushKey); err != nil {
		panic(err)
	}
	return l
}

// vectorSuccession is that of vectorPushKey by vectorNextKey.
func vectorSuccession() Succession {
	s, err := NewSuccession(vectorPushKey, vectorNextKey, 1_800_000_000, 1_801_209_600)
	if err != nil {
		panic(err)
	}
	return s
}

func vectorReplies() []vector[Reply] {
	return []vector[Reply]{
		{"register-reply", "ok, waiting; version 7, expires 1800604800, challenged, limits 4 1000 2592000 64 0.2", Reply{ID: vectorID, State: Waiting,
			Body: &RegisterReply{Version: 7, Expires: 1800604800, Challenged: true, Limits: vectorLimits}}},
		{"status-reply", "ok, dead because \"fcm 404 UNREGISTERED\"; version 7, expires 1800604800, sequence 12, route fcm dead, webpush waiting; channel 0x5a4ea131 every; revoked \"eve\"", Reply{ID: vectorID, State: Dead, Reason: "fcm 404 UNREGISTERED",
			Body: &StatusReply{Version: 7, Expires: 1800604800, Seq: 12,
				Routes:   []RouteStatus{{Provider: "fcm", State: Dead, Reason: "fcm 404 UNREGISTERED"}, {Provider: "webpush", State: Waiting}},
				Channels: []Channel{{Topic: whisper.Topic{0x5a, 0x4e, 0xa1, 0x31}}},
				Revoked:  []string{"eve"}, Limits: vectorLimits}}},
		{"status-reply-delivery", "ok, active; version 7, expires 1800604800, sequence 12, route fcm active; sealed wake-ups only; now 1800000000000, epoch 7, log 16 × 10; fetched 1799999000, not silenced, 3 unread, 1 pending, 2 tests; route: accepted 1799999990, budget 19, tested 1799999995, failed, \"fcm 401\"", Reply{ID: vectorID, State: Active,
			Body: &StatusReply{Version: 7, Expires: 1800604800, Seq: 12, Routes: []RouteStatus{{Provider: "fcm", State: Active}},
				Limits: Limits{Routes: 4, Channels: 1000, Lifetime: 2592000, Fetch: 64, PoW: 0.2, Sealed: true}, Standing: vectorStanding,
				Delivery: &Delivery{Fetched: 1_799_999_000, Unread: 3, Pending: 1, Tests: 2, Routes: []RouteDelivery{
					{Accepted: 1_799_999_990, Budget: 19, Tested: 1_799_999_995, Outcome: TestFailed, Reason: "fcm 401"}}}}}},
		{"fetch-reply", "ok, active; aa00…01 sent, bb00…02 missing", Reply{ID: vectorID, State: Active,
			Body: &FetchReply{Sent: vectorHashes[:1], Missing: vectorHashes[1:]}}},
		{"fetch-reply-owed", "ok, active; aa00…01 sent; bb00…02 is to be dismissed", Reply{ID: vectorID, State: Active,
			Body: &FetchReply{Sent: vectorHashes[:1], Owed: &Owed{Dismissed: vectorHashes[1:]}}}},
		{"clock-reply", `clock, "your clock is wrong"; now 1800000600000`, Reply{ID: vectorID, Code: Clock, Text: "your clock is wrong",
			Body: &ClockReply{Now: vectorIssued + 600_000}}},
		{"ring", "ok, active; no request's id; body \"{\"v\":2,\"k\":4}\"", Reply{State: Active, Body: &Ring{Body: []byte(`{"v":2,"k":4}`)}}},
		{"register-reply-standing", "ok, active; as register-reply; now 1800000000000, epoch 7, log 16 × 10; for the registration key", Reply{ID: vectorID, State: Active, To: vectorAccount[:],
			Body: &RegisterReply{Version: 7, Expires: 1800604800, Limits: vectorLimits, Standing: vectorStanding}}},
		{"status-reply-standing", "ok, active; version 7, expires 1800604800, sequence 12, route fcm active and in doubt since 1800000000; now, epoch and log as before; for the registration key", Reply{ID: vectorID, State: Active, To: vectorAccount[:],
			Body: &StatusReply{Version: 7, Expires: 1800604800, Seq: 12,
				Routes: []RouteStatus{{Provider: "fcm", State: Active, Reason: "fcm 404 UNREGISTERED", Doubt: 1_800_000_000}},
				Limits: vectorLimits, Standing: vectorStanding}}},
		{"confirm-reply-ledger", "ok, active, nothing more to say, for the registration key; ledger with the secret 16 × 5c, log 16 × 10, since 100, begun 1799999940000, topics 0x5a4ea131 and 0x00000001, through 200, at 1800000000000; aa00…01 and bb00…02 in its chain, of which the second is told", Reply{ID: vectorID, State: Active,
			To: vectorAccount[:], Ledger: vectorLedger()}},
		{"fetch-reply-ledger", "as fetch-reply, with the ledger of confirm-reply-ledger; what it tells is the second hash of the body", Reply{ID: vectorID, State: Active,
			To: vectorAccount[:], Body: &FetchReply{Sent: vectorHashes[:1], Missing: vectorHashes[1:]}, Ledger: vectorLedger()}},
		{"confirm-reply-succession", "as confirm-reply-ledger, without a ledger, and with the succession of the push key by the next push key, begun 1800000000, until 1801209600", Reply{ID: vectorID, State: Active,
			To: vectorAccount[:], Successions: []Succession{vectorSuccession()}}},
		{"fetch-reply-succession", "as fetch-reply-ledger, with that succession", Reply{ID: vectorID, State: Active,
			To: vectorAccount[:], Body: &FetchReply{Sent: vectorHashes[:1], Missing: vectorHashes[1:]}, Ledger: vectorLedger(), Successions: []Succession{vectorSuccession()}}},
		{"refusal-retired", `retired, "the server has another push key"; no body, with that succession`, Reply{ID: vectorID, Code: Retired, Text: "the server has another push key",
			To: vectorAccount[:], Successions: []Succession{vectorSuccession()}}},
		{"refusal", `not registered, "there is no registration under this key"; no body`, Reply{ID: vectorID, Code: NotRegistered, Text: "there is no registration under this key"}},
	}
}

func vectorPayloads() []vector[Payload] {
	return []vector[Payload]{
		{"messages", "sequence 12, more, the hashes aa00…01 and bb00…02", Payload{Kind: Messages, Seq: 12, More: true, Hashes: vectorHashes}},
		{"challenge", "code 16 × c0", Payload{Kind: Challenge, Code: vectorCode[:]}},
		{"challenge-bound", "code 16 × c0, of the push key, for the registration key", Payload{Kind: Challenge, Code: vectorCode[:], Server: vectorServer[:], Account: vectorAccount[:]}},
		{"dismiss", "the hash bb00…02", Payload{Kind: Dismiss, Hashes: vectorHashes[1:]}},
		{"canary", "nothing else", Payload{Kind: Canary}},
	}
}

func vectorOffer() Offer {
	return Offer{Issued: 1_800_000_000, Expires: 1_800_003_600,
		Enode:     "enode://" + strings.Repeat("ab", 64) + "@192.0.2.1:30303",
		Providers: []ProviderOffer{{Name: "fcm", Info: "sender 1234567890"}, {Name: "webhook"}},
		Limits:    vectorLimits}
}

type vector[T any] struct {
	name, about string
	value       T
}

// readVectors reads testdata/vectors.txt: a line "name" that starts no
// comment, and below it the hexadecimal bytes, indented.
func readVectors(t testing.TB) map[string][]byte {
	f, err := os.Open(vectorFile)
	require.NoError(t, err)
	defer f.Close()
	vectors := make(map[string][]byte)
	name := ""
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != ' ':
			name = line
		default:
			b, err := hex.DecodeString(strings.TrimSpace(line))
			require.NoError(t, err, name)
			vectors[name] = append(vectors[name], b...)
		}
	}
	require.NoError(t, lines.Err())
	return vectors
}

func TestWriteVectors(t *testing.T) {
	if !*update {
		t.Skip("testdata/vectors.txt is written with -update only")
	}
	before := readVectors(t)
	var out strings.Builder
	out.WriteString("# Golden vectors of the push protocol, version 2. See docs/protocol.md.\n" +
		"# Every block: what it is, a name, the bytes in hexadecimal.\n" +
		"# Written by: go test ./pushext/pushwire -run TestWriteVectors -update\n#\n")
	fmt.Fprintf(&out, "# push key (secp256k1, private)          %x\n", crypto.FromECDSA(vectorPushKey))
	fmt.Fprintf(&out, "# push key (public, compressed)          %x\n", crypto.CompressPubkey(&vectorPushKey.PublicKey))
	fmt.Fprintf(&out, "# next push key (secp256k1, private)     %x\n", crypto.FromECDSA(vectorNextKey))
	fmt.Fprintf(&out, "# registration key (private)             %x\n", crypto.FromECDSA(vectorRegistrationKey))
	fmt.Fprintf(&out, "# registration key (public, compressed)  %x\n", crypto.CompressPubkey(&vectorRegistrationKey.PublicKey))
	fmt.Fprintf(&out, "# seal key (X25519, private)             %x\n", vectorSealPrivate)
	fmt.Fprintf(&out, "# seal key (public)                      %x\n", sealPublic(t, vectorSealPrivate))
	fmt.Fprintf(&out, "# every request: id 16 × 1d, issued %d\n", vectorIssued)
	block := func(name, about string, b []byte, err error) {
		require.NoError(t, err, name)
		if old, ok := before[name]; ok && (strings.HasPrefix(name, "sealed-") || strings.HasPrefix(name, "envelope-")) {
			b = old // made again it would be as good, and others have this one
		}
		fmt.Fprintf(&out, "\n# %s\n%s\n", strings.ReplaceAll(about, "\n", "\n# "), name)
		for chunk := range slices.Chunk(b, 64) {
			fmt.Fprintf(&out, "  %x\n", chunk)
		}
	}
	for _, v := range vectorRequests() {
		b, err := EncodeRequest(v.value)
		block(v.name, "request: "+v.about, b, err)
	}
	for _, v := range vectorReplies() {
		b, err := EncodeReply(v.value)
		block(v.name, "reply: "+v.about, b, err)
	}
	b, err := EncodeOffer(vectorOffer())
	block("offer", "offer: issued 1800000000, expires an hour later; fcm and webhook", b, err)
	following := vectorOffer()
	following.Successions = []Succession{vectorSuccession()}
	b, err = EncodeOffer(following)
	block("offer-succession", "the same offer, with the succession of confirm-reply-succession", b, err)
	capability := Capability(vectorRoot, "alice")
	block("capability", `capability of the holder "alice" from the root 32 × 0b`, capability[:], nil)
	for _, v := range vectorPayloads() {
		b := make([]byte, PlainSize)
		err := v.value.encode(b)
		block("payload-"+v.name, "payload before it is sealed, "+v.name+": "+v.about, b, err)
		b, err = SealPayload(v.value, sealPublic(t, vectorSealPrivate))
		block("sealed-"+v.name, "the same as a body (JSON text), sealed to the seal key", b, err)
		b, err = PlainPayload(v.value)
		block("plain-"+v.name, "the same as a body (JSON text), plain", b, err)
	}
	block("chain-start", "start of the chain of the Register of version 2, made of the private seal key", vectorChain[:], nil)
	c := NewChain(2, vectorChain)
	for _, number := range []uint64{0, 1, MaxChain - 1} {
		c.Skip(number - c.Next)
		link := c.Link
		key, _ := c.Take()
		block(fmt.Sprintf("chain-link-%d", number), fmt.Sprintf("the chain's value before its key %d", number), link[:], nil)
		block(fmt.Sprintf("chain-key-%d", number), fmt.Sprintf("its key %d", number), key.key[:], nil)
		b, err := SealChained(vectorPayloads()[0].value, vectorSealPublic, key)
		block(fmt.Sprintf("sealed-chain-%d", number), "the payload messages as a body (JSON text), sealed under that key", b, err)
	}
	req, err := SealRequest(context.Background(), vectorRequests()[0].value, vectorRegistrationKey, &vectorPushKey.PublicKey, DefaultPoW)
	require.NoError(t, err)
	block("envelope-register", `the request "register" as the envelope in packet 126, with a proof of work of 0.2`, req.Raw(), nil)
	rep, err := SealReply(context.Background(), vectorReplies()[0].value, vectorPushKey, &vectorRegistrationKey.PublicKey)
	require.NoError(t, err)
	block("envelope-register-reply", `the reply "register-reply" as the envelope in packet 127`, rep.Raw(), nil)
	l := vectorLayers(t)
	block("layers-message", "message: the request status made for the push key, padded with zeros to 1024 and signed by the registration key", l.message, nil)
	block("layers-shared", "shared secret of the push key and the ephemeral key 32 × e4", l.shared, nil)
	block("layers-keys", "made of it: 16 of AES, 32 of the MAC", l.keys, nil)
	block("layers-data", "the message encrypted, with the IV 16 × 1f", l.data, nil)
	block("layers-envelope", "the content of packet 126: expiry 1800000050, TTL 50", l.envelope, nil)
	require.NoError(t, os.WriteFile(vectorFile, []byte(out.String()), 0o644))
}

func TestVectors(t *testing.T) {
	if *update {
		t.Skip("the vectors are being written")
	}
	vectors := readVectors(t)
	for _, v := range vectorRequests() {
		t.Run(v.name, func(t *testing.T) {
			b, err := EncodeRequest(v.value)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(vectors[v.name]), hex.EncodeToString(b))
			got, err := DecodeRequest(b)
			require.NoError(t, err)
			require.Equal(t, v.value, got)
		})
	}
	for _, v := range vectorReplies() {
		t.Run(v.name, func(t *testing.T) {
			b, err := EncodeReply(v.value)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(vectors[v.name]), hex.EncodeToString(b))
			got, err := DecodeReply(b)
			require.NoError(t, err)
			require.Equal(t, v.value, got)
		})
	}
	for _, v := range vectorPayloads() {
		t.Run("payload "+v.name, func(t *testing.T) {
			b := make([]byte, PlainSize)
			require.NoError(t, v.value.encode(b))
			require.Equal(t, vectors["payload-"+v.name], b)
			plain, err := PlainPayload(v.value)
			require.NoError(t, err)
			require.Equal(t, string(vectors["plain-"+v.name]), string(plain))
			got, err := OpenPayload(plain, nil)
			require.NoError(t, err)
			require.Equal(t, v.value, got)
			got, err = OpenPayload(vectors["sealed-"+v.name], vectorSealPrivate)
			require.NoError(t, err)
			require.Equal(t, v.value, got)
		})
	}
	t.Run("chain", func(t *testing.T) {
		require.Equal(t, vectors["chain-start"], vectorChain[:])
		c := NewChain(2, vectorChain)
		for _, number := range []uint64{0, 1, MaxChain - 1} {
			c.Skip(number - c.Next)
			require.Equal(t, vectors[fmt.Sprintf("chain-link-%d", number)], c.Link[:])
			key, ok := c.Take()
			require.True(t, ok)
			require.Equal(t, vectors[fmt.Sprintf("chain-key-%d", number)], key.key[:])
			got, err := OpenPayload(vectors[fmt.Sprintf("sealed-chain-%d", number)], vectorSealPrivate)
			require.NoError(t, err)
			require.Equal(t, vectorPayloads()[0].value, got)
		}
		_, ok := c.Take()
		require.False(t, ok, "it is at its end")
	})
	t.Run("offer", func(t *testing.T) {
		b, err := EncodeOffer(vectorOffer())
		require.NoError(t, err)
		require.Equal(t, vectors["offer"], b)
	})
	t.Run("capability", func(t *testing.T) {
		c := Capability(vectorRoot, "alice")
		require.Equal(t, vectors["capability"], c[:])
	})
	t.Run("envelopes", func(t *testing.T) {
		env, err := whisper.DecodeEnvelope(vectors["envelope-register"])
		require.NoError(t, err)
		req, signer, err := OpenRequest(env, vectorPushKey)
		require.NoError(t, err)
		require.True(t, signer.Equal(&vectorRegistrationKey.PublicKey))
		require.Equal(t, vectorRequests()[0].value, req)
		env, err = whisper.DecodeEnvelope(vectors["envelope-register-reply"])
		require.NoError(t, err)
		rep, err := OpenReply(env, vectorRegistrationKey, &vectorPushKey.PublicKey)
		require.NoError(t, err)
		require.Equal(t, vectorReplies()[0].value, rep)
	})
}
