// Command vectors writes the golden vectors of shh/6 that the main module tests
// itself against. Every byte and every verdict in them is produced by the
// unmodified whisperv6 and mailserver packages of go-ethereum v1.9.20, the last
// release that spoke Whisper; nothing here knows how they ought to come out.
//
// Regenerate with
//
//	cd testutil/genuine && go run -ldflags=-checklinkname=0 ./cmd/vectors -out ../../whisper/testdata/genuine
//
// Keys, topics and payloads are fixed. Sealing draws random padding, salts and
// ephemeral keys and reads the clock, so a new run changes those bytes (and
// only what follows from them): review the difference before committing it.
package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

const regenerate = "cd testutil/genuine && go run -ldflags=-checklinkname=0 ./cmd/vectors -out ../../whisper/testdata/genuine"

// file is the envelope of every vector file.
type file struct {
	About      string      `json:"about"`
	Source     string      `json:"source"`
	Regenerate string      `json:"regenerate"`
	Archive    interface{} `json:"archive,omitempty"`
	Cases      interface{} `json:"cases"`
}

// groups maps a file name to what fills it.
var groups = []struct {
	name  string
	about string
	make  func() (cases, archive interface{}, err error)
}{
	{"envelopes", "envelopes: RLP, hash, sent time, size and PoW without lag", plain(envelopes)},
	{"envelope-rlp", "RLP of good and bad envelopes and whether the genuine decoder takes it", plain(envelopeRLP)},
	{"pow", "PoW the genuine node computed when it accepted an envelope sent lag seconds in its future", plain(powWithLag)},
	{"blooms", "topic to bloom; bits is what the genuine node sets, lost what three ORed bits would add", plain(blooms)},
	{"bloom-match", "whether a sample bloom passes a filter bloom", plain(bloomMatches)},
	{"bloom-aggregate", "bloom a genuine light node advertises for a set of topics", plain(bloomAggregates)},
	{"passwords", "symmetric key derived from a password", plain(passwords)},
	{"messages-symmetric", "symmetrically encrypted messages", plain(symmetricMessages)},
	{"messages-symmetric-large", "symmetrically encrypted messages at the 2/3-byte payload size border", plain(largeMessages)},
	{"messages-asymmetric", "asymmetrically encrypted messages", plain(asymmetricMessages)},
	{"messages-malformed", "odd plaintexts and ciphertexts and what the genuine node made of them", plain(malformedMessages)},
	{"packets", "packets a genuine node sent, captured from its protocol handler", plain(sentPackets)},
	{"packets-received", "packets given to a genuine node and whether it kept the link", plain(receivedPackets)},
	{"acceptance", "envelopes given to a genuine node by offset from its clock, size, PoW and bloom, and its verdict", plain(acceptance)},
	{"mail-requests", "mail requests (packet 126) and the envelopes (packet 127) a genuine mailserver answered with from the archive", mailRequests},
}

func main() {
	out := flag.String("out", filepath.Join("..", "..", "whisper", "testdata", "genuine"), "`directory` to write the vector files to")
	only := flag.String("only", "", "write only the `file` of this name, without its extension")
	flag.Parse()
	log.Root().SetHandler(log.DiscardHandler())

	for _, g := range groups {
		if *only != "" && *only != g.name {
			continue
		}
		cases, archive, err := g.make()
		if err == nil {
			err = write(filepath.Join(*out, g.name+".json"), file{
				About:      g.about,
				Source:     "github.com/ethereum/go-ethereum v1.9.20 whisper/whisperv6, whisper/mailserver",
				Regenerate: regenerate,
				Archive:    archive,
				Cases:      cases,
			})
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "vectors: %s: %v\n", g.name, err)
			os.Exit(1)
		}
		fmt.Println(g.name)
	}
}

// plain adapts a group that needs no archive.
func plain[T any](make func() ([]T, error)) func() (interface{}, interface{}, error) {
	return func() (interface{}, interface{}, error) {
		cases, err := make()
		return cases, nil, err
	}
}

func write(path string, f file) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// keyFor is the fixed secp256k1 key of a role.
func keyFor(role string) *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("whisperpush vector key: " + role)))
	if err != nil {
		panic(err)
	}
	return key
}

// symKeyFor is the fixed AES-256 key of a role.
func symKeyFor(role string) []byte {
	return crypto.Keccak256([]byte("whisperpush vector symmetric key: " + role))
}

// fill returns n bytes that differ from one another and between lengths.
func fill(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + n)
	}
	return b
}

func topic(s string) whisper.TopicType {
	return whisper.BytesToTopic(hexutil.MustDecode(s))
}

// float is a float64 that survives JSON: a decimal for people (which may be
// +Inf) and the IEEE 754 bits for tests.
type float struct {
	Decimal string         `json:"decimal"`
	Bits    hexutil.Uint64 `json:"bits"`
}

func newFloat(f float64) float {
	return float{strconv.FormatFloat(f, 'g', -1, 64), hexutil.Uint64(math.Float64bits(f))}
}
