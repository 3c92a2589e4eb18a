package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/whisper/mailserver"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// load says which envelopes to make or where to read them from.
type load struct {
	File   string `json:"file"`   // envelopes in RLP one after another; the other fields are then ignored
	Count  int    `json:"count"`  // how many
	Seed   int64  `json:"seed"`   // of everything random
	Topics int    `json:"topics"` // how many topics they spread over, round robin
	Size   int    `json:"size"`   // bytes of data each: 284 is a symmetric message padded to 256
	From   uint32 `json:"from"`   // sent time of the first, Unix seconds
	Span   uint32 `json:"span"`   // seconds from the first to the last
	TTL    uint32 `json:"ttl"`    // seconds
}

func (l *load) flags(fs *flag.FlagSet) {
	fs.StringVar(&l.File, "file", "", "`path` of envelopes to read instead of making them")
	fs.IntVar(&l.Count, "count", 100_000, "envelopes")
	fs.Int64Var(&l.Seed, "seed", 1, "seed")
	fs.IntVar(&l.Topics, "topics", 1000, "distinct topics")
	fs.IntVar(&l.Size, "size", 284, "data bytes an envelope")
	fs.Func("from", "sent time of the first, Unix `seconds` (now)", func(s string) error {
		_, err := fmt.Sscan(s, &l.From)
		return err
	})
	fs.Func("span", "`seconds` from the first to the last (0)", func(s string) error {
		_, err := fmt.Sscan(s, &l.Span)
		return err
	})
	l.TTL = 600
	fs.Func("ttl", "time to live in `seconds` (600)", func(s string) error {
		_, err := fmt.Sscan(s, &l.TTL)
		return err
	})
}

// envelopes returns the load. Envelope i has topic i modulo Topics, and nonce i;
// it carries no proof of work.
func (l load) envelopes() ([]*whisper.Envelope, error) {
	if l.File != "" {
		return readEnvelopes(l.File)
	}
	if l.Count <= 0 || l.Topics <= 0 || l.Size < 0 {
		return nil, fmt.Errorf("load of %d envelopes of %d bytes on %d topics: want positive numbers", l.Count, l.Size, l.Topics)
	}
	if l.From == 0 {
		l.From = uint32(time.Now().Unix())
	}
	rnd := rand.New(rand.NewSource(l.Seed))
	out := make([]*whisper.Envelope, l.Count)
	for i := range out {
		data := make([]byte, l.Size)
		rnd.Read(data)
		sent := l.From + uint32(uint64(l.Span)*uint64(i)/uint64(l.Count))
		out[i] = &whisper.Envelope{Expiry: sent + l.TTL, TTL: l.TTL, Topic: loadTopic(l.Seed, i%l.Topics), Data: data, Nonce: uint64(i)}
	}
	return out, nil
}

// loadTopic is the first four bytes of keccak256(seed ‖ i), each 8 bytes big-endian.
func loadTopic(seed int64, i int) whisper.TopicType {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(seed))
	binary.BigEndian.PutUint64(b[8:], uint64(i))
	return whisper.BytesToTopic(crypto.Keccak256(b[:]))
}

func readEnvelopes(path string) ([]*whisper.Envelope, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := rlp.NewStream(bufio.NewReaderSize(f, 1<<20), 0)
	var out []*whisper.Envelope
	for {
		env := new(whisper.Envelope)
		if err := s.Decode(env); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: envelope %d: %w", path, len(out), err)
		}
		out = append(out, env)
	}
}

func generate(args []string) error {
	fs := flag.NewFlagSet("generate", flag.ExitOnError)
	var l load
	l.flags(fs)
	out := fs.String("out", "", "`path` to write to")
	fs.Parse(args)
	envs, err := l.envelopes()
	if err != nil {
		return err
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	for _, e := range envs {
		if err := rlp.Encode(w, e); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// archiveResult is the result of one timed run of Archive.
type archiveResult struct {
	Envelopes int     `json:"envelopes"`
	Writers   int     `json:"writers"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
}

func archive(args []string) error {
	fs := flag.NewFlagSet("archive", flag.ExitOnError)
	var l load
	l.flags(fs)
	writers := fs.Int("writers", 1, "concurrent callers of Archive")
	db := fs.String("db", "", "`directory` of the database")
	fs.Parse(args)
	logTo(1)
	if *writers < 1 {
		return fmt.Errorf("-writers %d: want at least 1", *writers)
	}
	envs, err := l.envelopes()
	if err != nil {
		return err
	}
	var server mailserver.WMailServer
	if err := server.Init(whisper.StandaloneWhisperService(nil), *db, "archive", 0); err != nil {
		return err
	}
	defer server.Close()
	return json.NewEncoder(os.Stdout).Encode(timeArchive(server.Archive, envs, *writers))
}

// timeArchive deals the envelopes to the writers in turn and times until all are
// archived. Hashes are computed before, as in a node, which looks for each
// envelope among those it has before it calls Archive.
func timeArchive(put func(*whisper.Envelope), envs []*whisper.Envelope, writers int) archiveResult {
	for _, e := range envs {
		e.Hash() // caches it
	}
	var wg sync.WaitGroup
	start := time.Now()
	for w := 0; w < writers; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < len(envs); i += writers {
				put(envs[i])
			}
		}()
	}
	wg.Wait()
	took := time.Since(start).Seconds()
	return archiveResult{len(envs), writers, took, float64(len(envs)) / took}
}
