package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/testutil/genuinenode"
	"whisperpush/whisper"
)

const (
	// dataSize is the data of an envelope whose symmetric message is padded to 256 bytes.
	dataSize = 256 + 12 + 16
	// perPacket is how many envelopes one packet carries, about 170 KiB: far below what the
	// genuine node takes, and more would gain nothing.
	perPacket = 500
	// loadTTL is longer than any run, in seconds.
	loadTTL = 3600
)

// envelopes makes the load l, unless it was made before, and returns its file. The genuine
// node's code makes it, so both sides get the same bytes.
func (s *suite) envelopes(ctx context.Context, l genuinenode.Load) (string, error) {
	if path, ok := s.loads[l]; ok {
		return path, nil
	}
	path := filepath.Join(s.dir, "envelopes-"+strconv.Itoa(len(s.loads)))
	if err := genuinenode.WriteLoad(ctx, l, path); err != nil {
		return "", err
	}
	s.loads[l] = path
	return path, nil
}

// fresh is a load with envelopes sent now.
func (s *suite) fresh(count, topics int) genuinenode.Load {
	return genuinenode.Load{Count: count, Seed: s.seed, Topics: topics, Size: dataSize, From: uint32(time.Now().Unix()), TTL: loadTTL}
}

// readRaw reads the envelopes of a file as they are.
func readRaw(path string) ([][]byte, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var raws [][]byte
	for len(all) > 0 {
		_, _, rest, err := rlp.Split(all)
		if err != nil {
			return nil, err
		}
		n := len(all) - len(rest)
		raws = append(raws, all[:n:n])
		all = rest
	}
	return raws, nil
}

// decode makes envelopes from raws, as if they came from a peer.
func decode(raws [][]byte) ([]*whisper.Envelope, error) {
	envs := make([]*whisper.Envelope, len(raws))
	for i, raw := range raws {
		e, err := whisper.DecodeEnvelope(raw)
		if err != nil {
			return nil, err
		}
		envs[i] = e
	}
	return envs, nil
}

// packets makes the payloads of packets 1 that carry raws.
func packets(raws [][]byte, each int) ([][]byte, error) {
	var out [][]byte
	for len(raws) > 0 {
		n := min(each, len(raws))
		list := make([]rlp.RawValue, n)
		for i, raw := range raws[:n] {
			list[i] = raw
		}
		packet, err := rlp.EncodeToBytes(list)
		if err != nil {
			return nil, err
		}
		out, raws = append(out, packet), raws[n:]
	}
	return out, nil
}

// sendAtRandom sends packets one by one at random moments, rate a second on average, or as fast as they are taken if rate
// is 0. It returns when each was sent.
func sendAtRandom(ctx context.Context, choice *rand.Rand, load [][]byte, rate float64, send func(i int, packet []byte) error) ([]time.Time, error) {
	sent := make([]time.Time, len(load))
	due := time.Now()
	for i, packet := range load {
		if rate > 0 {
			due = due.Add(time.Duration(choice.ExpFloat64() * float64(time.Second) / rate))
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		sent[i] = time.Now()
		if err := send(i, packet); err != nil {
			return nil, err
		}
	}
	return sent, nil
}

// waitsOf returns how long the wake-up for each envelope took, in milliseconds, and how many were late or never came.
func waitsOf(sent []time.Time, hashes []common.Hash, rung map[common.Hash]time.Time) (waits []float64, late int) {
	waits = make([]float64, len(hashes))
	for i, h := range hashes {
		wait := promised + time.Second // those that never came
		if first, ok := rung[h]; ok {
			wait = first.Sub(sent[i])
		}
		if wait > promised {
			late++
		}
		waits[i] = milliseconds(wait)
	}
	return waits, late
}
