// Command server is Whisper as status-go's mailservers ran it (status-im/whisper v1.6.2, unmodified,
// over the p2p of its go-ethereum), with an archive of made-up envelopes. That code reads and writes
// what status-go's mailservers say to each other, packets 123 and 124. The pages themselves are cut
// here, because the library leaves them to the mailserver.
//
// It writes one line of JSON, {"enode", "hashes"}, when it can be dialled, and one for each sync
// request, {"lower", "upper", "limit", "cursor"}. It ends when its standard input does.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/status-im/whisper/whisperv6"
)

// bundle is the most envelopes in one packet 124, as in status-go.
const bundle = 100

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "genuine status:", err)
		os.Exit(1)
	}
}

func run() error {
	count := flag.Int("count", 100, "how many envelopes there are")
	from := flag.Uint("from", 0, "when the first was sent, Unix seconds")
	span := flag.Uint("span", 1, "over how many seconds they were sent")
	refuse := flag.Int("refuse", 0, "the number of the sync request that is refused, from 1; 0: none")
	flag.Parse()
	key, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	shh := whisperv6.New(&whisperv6.Config{MaxMessageSize: whisperv6.DefaultMaxMessageSize})
	mail := &mailserver{shh: shh, refuse: *refuse, out: json.NewEncoder(os.Stdout)}
	var hashes []string
	for i := 0; i < *count; i++ {
		sent := uint32(*from) + uint32(uint64(*span)*uint64(i)/uint64(*count))
		e := &whisperv6.Envelope{Expiry: sent + 50, TTL: 50, Data: make([]byte, 200+i%300)}
		rand.Read(e.Topic[:])
		rand.Read(e.Data)
		raw, err := rlp.EncodeToBytes(e)
		if err != nil {
			return err
		}
		hash := e.Hash()
		mail.rows = append(mail.rows, row{append(binary.BigEndian.AppendUint32(nil, sent), hash[:]...), raw})
		hashes = append(hashes, hash.Hex())
	}
	sort.Slice(mail.rows, func(i, j int) bool { return bytes.Compare(mail.rows[i].key, mail.rows[j].key) < 0 })
	shh.RegisterServer(mail)
	server := &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 10, Name: "Statusd/v0.34", Protocols: shh.Protocols(), ListenAddr: "127.0.0.1:0", NoDiscovery: true,
	}}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Stop()
	if err := shh.Start(nil); err != nil {
		return err
	}
	defer shh.Stop()
	mail.say(map[string]interface{}{"enode": server.Self().URLv4(), "hashes": hashes})
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// row is an envelope under its key in status-go's database: sent time 4, hash 32.
type row struct{ key, raw []byte }

// mailserver answers sync requests.
type mailserver struct {
	shh  *whisperv6.Whisper
	rows []row // ascending

	mu     sync.Mutex // guards the following fields
	out    *json.Encoder
	asked  int
	refuse int
}

func (m *mailserver) say(v interface{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out.Encode(v)
}

func (m *mailserver) Archive(*whisperv6.Envelope)                        {}
func (m *mailserver) DeliverMail(*whisperv6.Peer, *whisperv6.Envelope)   {}
func (m *mailserver) Deliver(*whisperv6.Peer, whisperv6.MessagesRequest) {}

// SyncMail sends what was requested, newest first, in bundles, and then the cursor that follows.
func (m *mailserver) SyncMail(peer *whisperv6.Peer, r whisperv6.SyncMailRequest) error {
	m.say(map[string]interface{}{"lower": r.Lower, "upper": r.Upper, "limit": r.Limit, "cursor": hex.EncodeToString(r.Cursor)})
	m.mu.Lock()
	m.asked++
	refused := m.asked == m.refuse
	m.mu.Unlock()
	if refused {
		return errors.New("exceeded rate limit")
	}
	var some []rlp.RawValue
	var cursor []byte
	sent := 0
	for i := len(m.rows) - 1; i >= 0; i-- {
		at := binary.BigEndian.Uint32(m.rows[i].key)
		if at < r.Lower || at > r.Upper || len(r.Cursor) > 0 && bytes.Compare(m.rows[i].key, r.Cursor) >= 0 {
			continue
		}
		if sent == int(r.Limit) {
			cursor = m.rows[i+1].key
			break
		}
		some = append(some, m.rows[i].raw)
		sent++
		if len(some) == bundle {
			if err := m.shh.SendRawSyncResponse(peer, whisperv6.RawSyncResponse{Envelopes: some}); err != nil {
				return err
			}
			some = nil
		}
	}
	if len(some) > 0 {
		if err := m.shh.SendRawSyncResponse(peer, whisperv6.RawSyncResponse{Envelopes: some}); err != nil {
			return err
		}
	}
	return m.shh.SendRawSyncResponse(peer, whisperv6.RawSyncResponse{Cursor: cursor, Final: true})
}
