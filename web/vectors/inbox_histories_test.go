package vectors

import (
	"crypto/ecdsa"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/client/inbox"
	"whisperpush/whisper"
)

// decisions are all of the table.
func decisions() (all [4]string) {
	for attention := inbox.ScreenOff; attention <= inbox.Watching; attention++ {
		for bits := range 64 {
			bit := func(n int) bool { return bits>>n&1 == 1 }
			d := inbox.Decide(attention, inbox.Facts{Read: bit(0), Own: bit(1), Muted: bit(2), Blocked: bit(3), Lost: bit(4), News: bit(5)})
			what := strconv.Itoa(int(d.Manner))
			if d.Read {
				what = "r"
			}
			all[attention] += what
		}
	}
	return all
}

func links() (all []linkVector) {
	hash := "0x" + strings.Repeat("aB", 32)
	for _, text := range []string{
		"whisper:0x5a4ea131", "WHISPER:0x5A4EA131", "whisper:0x5a4ea131.0011223344556677", "whisper:0x5a4ea131.0011223344556677/" + hash,
		"whisper:0x5a4ea131/" + hash, "whisper:" + hash, "whi\u017fper:0x5a4ea131",
		"", ":", "0x5a4ea131", "https://example.org/0x5a4ea131", "whisperer:0x5a4ea131", " whisper:0x5a4ea131",
		"whisper:", "whisper://0x5a4ea131", "whisper:0x5a4ea131/", "whisper:/" + hash, "whisper:5a4ea131", "whisper:0x5a4ea13", "whisper:0x5a4ea13g",
		"whisper:0X5a4ea131", "whisper:0x5a4ea131.", "whisper:0x5a4ea131.00112233445566", "whisper:0x5a4ea131/" + hash + "/", "whisper:0x5a4ea131/" + hash + "?x",
		"whisper:0x5a4ea131#x", "whisper:%30x5a4ea131", "whisper:" + hash + "/" + hash, "whisper:0x5a4ea131 ", "whisper:0x5a4ea131\n", "whisper:0x5a4ea131:",
		"whisper:\u0660x5a4ea131", "whisper:0x5a4ea131.0011223344556677." + hash, "whisper:0x5a4ea131" + strings.Repeat("0", 200), strings.Repeat("x", 200) + ":",
	} {
		v := linkVector{Text: text}
		link, err := inbox.ParseLink(text)
		if v.Error = inboxError(err); err == nil {
			v.Link = link.String()
		}
		all = append(all, v)
	}
	return all
}

func signerKey(b byte) *ecdsa.PrivateKey {
	k, err := crypto.ToECDSA(repeated(b, 32))
	if err != nil {
		panic(err)
	}
	return k
}

func keyedChat(name string, topic, key byte) chatVector {
	v := chatVector{Name: name, Topic: repeated(topic, 4), Key: repeated(key, 32)}
	c := client.Chat{Topic: whisper.Topic(v.Topic), Key: v.Key}
	v.ID = c.ID().String()
	return v
}

var (
	familyChat = keyedChat("family", 0x11, 1)
	workChat   = keyedChat("work", 0x22, 2)
	laterChat  = keyedChat("later", 0x22, 3) // of the topic of work
	syncChat   = keyedChat("my devices", 0x33, 4)
)

func inboxChats() []chatVector {
	direct := chatVector{Name: "direct", Topic: repeated(0x44, 4), Identity: repeated(5, 32)}
	c := client.Chat{Topic: whisper.Topic(direct.Topic), Identity: signerKey(5)}
	direct.ID = c.ID().String()
	return []chatVector{familyChat, workChat, laterChat, syncChat, direct}
}

func hashOf(name string, n int) common.Hash {
	return crypto.Keccak256Hash(fmt.Appendf(nil, "%s %d", name, n))
}

// came is a message that comes, of somebody or, if by is 0, of nobody.
func came(chat chatVector, n int, by byte) previewVector {
	p := previewVector{Chat: chat.ID, Payload: fmt.Appendf(nil, "message %d", n), Sent: 1_700_000_000_000 + int64(n)*1000, Hash: hashOf("envelope", n), Message: hashOf("message", n)}
	if by != 0 {
		p.Sender = crypto.CompressPubkey(&signerKey(by).PublicKey)
	}
	return p
}

func event(previews ...previewVector) inboxStep {
	return inboxStep{Event: &eventVector{Previews: previews}}
}

func attend(a inbox.Attention) inboxStep { n := int(a); return inboxStep{Attend: &n} }
func opened(id string) inboxStep         { return inboxStep{Open: &id} }
func broken(b bool) inboxStep            { return inboxStep{Broken: &b} }

const farFuture = 4_102_444_800 // the year 2100

// synced is a message in the chat of the user's devices, written out by hand.
func synced(t *testing.T, n int, message ...any) previewVector {
	payload, err := rlp.EncodeToBytes(message)
	require.NoError(t, err)
	p := came(syncChat, n, 0)
	p.Payload = payload
	return p
}

func idBytes(t *testing.T, chat chatVector) []byte {
	b, err := hexutil.Decode(strings.Replace(chat.ID, ".", "", 1))
	require.NoError(t, err)
	return b
}

func inboxHistories(t *testing.T) []inboxHistory {
	own := hexutil.Bytes(repeated(9, 32))
	bob, eve := hexutil.Bytes(crypto.CompressPubkey(&signerKey(7).PublicKey)), hexutil.Bytes(crypto.CompressPubkey(&signerKey(8).PublicKey))
	two := []chatVector{familyChat, workChat}
	hash, mark := func(n int) common.Hash { return hashOf("envelope", n) }, func(n int) []byte { h := hashOf("message", n); return h[:8] }
	none := [][]byte{}
	at := uint64(1_700_000_000_000)

	later := laterChat.chat(t)
	sealed, err := whisper.Seal(t.Context(), client.Compose(later, []byte("whose key comes later"), signerKey(7), time.UnixMilli(int64(at))))
	require.NoError(t, err)
	copied := func(p previewVector, n int) previewVector { p.Hash = hash(n); return p }

	return []inboxHistory{
		{Name: "a message in each state of attention", Chats: two, Own: own, Steps: []inboxStep{
			event(came(familyChat, 1, 7)), attend(inbox.ScreenOff), event(came(familyChat, 2, 7)), attend(inbox.Elsewhere), event(came(familyChat, 3, 0)),
			opened(familyChat.ID), event(came(familyChat, 4, 7), came(workChat, 5, 8)), opened(""), event(came(familyChat, 6, 7)), attend(inbox.Background), {Refresh: true},
			{Reopen: true}, opened(familyChat.ID), attend(inbox.Elsewhere), {Flush: true},
		}},
		{Name: "own messages, and the same message in other envelopes", Chats: two, Own: own, Steps: []inboxStep{
			event(came(familyChat, 1, 9), came(familyChat, 2, 7)), event(copied(came(familyChat, 2, 7), 20)), {Read: []common.Hash{hash(20)}}, {Flush: true},
			event(copied(came(familyChat, 2, 7), 21)), {Flush: true}, {Event: &eventVector{Copies: []client.Copy{{Hash: hash(22), Message: hashOf("message", 2)}}}}, {Flush: true},
		}},
		{Name: "read elsewhere: before it comes, after, and by what the device says", Chats: two, Own: own, Steps: []inboxStep{
			{Event: &eventVector{Dismissed: []common.Hash{hash(1)}}}, event(came(familyChat, 1, 7), came(familyChat, 2, 7)), {Event: &eventVector{Dismissed: []common.Hash{hash(2)}}},
			event(func() previewVector { p := came(workChat, 3, 7); p.Read = true; return p }()), {Sent: []common.Hash{hash(4)}}, event(came(workChat, 4, 7)), {Flush: true}, {Reopen: true},
		}},
		{Name: "mute, and what comes of it", Chats: two, Own: own, Sync: &syncChat, Steps: []inboxStep{
			event(came(familyChat, 1, 7)), {Mute: familyChat.ID, Until: farFuture}, {Flush: true}, event(came(familyChat, 2, 7), came(workChat, 3, 7)), {Reopen: true},
			{Mute: familyChat.ID}, {Flush: true}, event(came(familyChat, 4, 7)), {Mute: familyChat.ID, Until: 1}, opened(familyChat.ID), attend(inbox.Elsewhere),
		}},
		{Name: "block, and unblock", Chats: two, Own: own, Sync: &syncChat, Steps: []inboxStep{
			event(came(familyChat, 1, 7), came(familyChat, 2, 8)), {Block: eve}, event(came(familyChat, 3, 8), came(familyChat, 4, 7)), {ReadChat: familyChat.ID}, {Block: bob}, {Unblock: eve},
			{Reopen: true}, {Flush: true}, event(came(workChat, 5, 8)), {Unblock: bob},
		}},
		{Name: "delete, and links to what was deleted", Chats: two, Own: own, Steps: []inboxStep{
			event(came(familyChat, 1, 7), came(familyChat, 2, 7), came(workChat, 3, 7)), {Delete: []common.Hash{hash(1), hash(99)}}, {Flush: true}, event(came(familyChat, 1, 7)),
			{Link: "whisper:" + hash(1).Hex()}, {Link: "whisper:" + hash(2).Hex()}, {Link: "whisper:" + familyChat.ID + "/" + hash(2).Hex()}, {Link: "whisper:" + familyChat.ID + "/" + hash(3).Hex()},
			{Link: "whisper:0x11111111"}, {Link: "whisper:0x99999999"}, {Link: "whisper:" + hash(4).Hex()}, {Link: "whisper:" + laterChat.ID}, {Link: "Whisper:0x22222222/" + hash(3).Hex()}, {Link: "whisper:x"},
			{DeleteChat: familyChat.ID}, {Flush: true}, {Chats: []chatVector{familyChat}}, {Flush: true}, {Link: "whisper:" + hash(3).Hex()},
		}},
		{Name: "quick actions, once each", Chats: two, Own: own, Steps: []inboxStep{
			event(came(familyChat, 1, 7), came(familyChat, 2, 7), came(workChat, 3, 7), came(workChat, 4, 8)),
			{Action: &actionVector{ID: "a", Kind: "markRead", Message: hash(1)}}, {Action: &actionVector{ID: "a", Kind: "markRead", Message: hash(2)}},
			{Action: &actionVector{ID: "", Kind: "markRead", Message: hash(2)}}, {Action: &actionVector{ID: strings.Repeat("x", 65), Kind: "markRead", Message: hash(2)}},
			{Action: &actionVector{ID: "b", Kind: "markRead", Message: hash(98)}}, {Action: &actionVector{ID: "c", Kind: "shout", Message: hash(2)}},
			{Action: &actionVector{ID: "d", Kind: "muteChat", Message: hash(3), Until: farFuture}}, {Action: &actionVector{ID: "e", Kind: "markChatRead", Message: hash(3)}},
			{Action: &actionVector{ID: "f", Kind: "deleteMessage", Message: hash(2)}}, {Action: &actionVector{ID: "g", Kind: "markRead", Message: hash(2)}},
			{Action: &actionVector{ID: "h", Kind: "reply", Message: hash(1), Text: ""}}, {Action: &actionVector{ID: "i", Kind: "reply", Message: hash(1), Text: "coming"}},
			{Action: &actionVector{ID: "i", Kind: "reply", Message: hash(1), Text: "coming"}}, {Reopen: true},
		}},
		{Name: "what decrypts later is shown then", Chats: two, Own: own, Steps: []inboxStep{
			{Event: &eventVector{Unopened: []hexutil.Bytes{sealed.Raw()}}}, {Event: &eventVector{Unopened: []hexutil.Bytes{sealed.Raw()}}}, {Reopen: true},
			{Chats: []chatVector{familyChat, workChat, laterChat}}, {Link: "whisper:" + laterChat.ID + "/" + sealed.Hash().Hex()}, {Event: &eventVector{Unopened: []hexutil.Bytes{sealed.Raw()}}},
		}},
		{Name: "a platform that shows nothing for a while", Chats: two, Own: own, Steps: []inboxStep{
			broken(true), event(came(familyChat, 1, 7)), broken(false), {Refresh: true}, {Reshow: true}, {Read: []common.Hash{hash(1)}}, {Reshow: true},
		}},
		{Name: "what the user's other devices tell", Chats: two, Own: own, Sync: &syncChat, Steps: []inboxStep{
			event(came(familyChat, 1, 7), came(familyChat, 2, 8)),
			event(synced(t, 50, uint64(1), [][]byte{mark(1), mark(3)}, none, none)),
			event(came(familyChat, 3, 7)),
			event(synced(t, 51, uint64(1), none, []any{[]any{idBytes(t, workChat), uint64(farFuture), at, uint64(5)}}, []any{[]any{[]byte(eve), uint64(1), at, uint64(5)}})),
			event(came(workChat, 4, 7)),
			event(synced(t, 52, uint64(1), none, []any{[]any{idBytes(t, workChat), uint64(0), at, uint64(4)}}, none)), // of a lesser device
			event(synced(t, 53, uint64(1), none, []any{[]any{idBytes(t, workChat), uint64(0), at, uint64(6), []byte("more")}}, none, []byte("of a later version"))),
			event(synced(t, 54, uint64(1), none, none, []any{[]any{[]byte(eve), uint64(0), uint64(1) << 60, uint64(5)}})),              // of the future
			event(synced(t, 55, uint64(2), none, none, none)),                                                                          // of another version
			event(synced(t, 56, uint64(1), none, []any{[]any{[]byte("short"), uint64(0), at + 1, uint64(9)}}, none)),                   // makes no sense
			event(synced(t, 57, uint64(1), none, none, []any{[]any{repeated(0xff, 33), uint64(1), at + 1, uint64(9)}})), {Flush: true}, // no key
		}},
	}
}
