package genuinenode

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/ethereum/go-ethereum/crypto"

	"whisperpush/testutil/nested"
)

// Load is a set of envelopes to archive: those of File, or made ones. Made
// envelope i has topic [Load.Topic](i), nonce i, random data and no proof of
// work. The same Load makes the same envelopes.
type Load struct {
	File   string `json:"file,omitempty"` // envelopes in RLP, one after another; the other fields are then ignored
	Count  int    `json:"count"`
	Seed   int64  `json:"seed"`
	Topics int    `json:"topics"` // how many they spread over, round robin
	Size   int    `json:"size"`   // bytes of data each; 284 is a symmetric message padded to 256
	From   uint32 `json:"from"`   // sent time of the first, Unix seconds; 0: now
	Span   uint32 `json:"span"`   // seconds from the first to the last
	TTL    uint32 `json:"ttl"`    // seconds
}

// Topic is the topic of made envelope i: the first 4 bytes of
// keccak256(seed ‖ i mod topics), each 8 bytes big-endian.
func (l Load) Topic(i int) (t [4]byte) {
	b := binary.BigEndian.AppendUint64(nil, uint64(l.Seed))
	b = binary.BigEndian.AppendUint64(b, uint64(i%l.Topics))
	copy(t[:], crypto.Keccak256(b))
	return t
}

func (l Load) args() []string {
	if l.File != "" {
		return []string{"-file", l.File}
	}
	u := func(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
	return []string{"-count", strconv.Itoa(l.Count), "-seed", strconv.FormatInt(l.Seed, 10), "-topics", strconv.Itoa(l.Topics),
		"-size", strconv.Itoa(l.Size), "-from", u(l.From), "-span", u(l.Span), "-ttl", u(l.TTL)}
}

// WriteLoad makes the envelopes and writes them to a file, for use as a Load's
// File and by other programs.
func WriteLoad(ctx context.Context, l Load, path string) error {
	_, err := run(ctx, append(append([]string{"generate"}, l.args()...), "-out", path)...)
	return err
}

// Timing is how long archiving took.
type Timing struct {
	Envelopes int
	Writers   int
	Seconds   float64
	PerSecond float64
}

// TimeArchive has a separate process archive the load by calls to the genuine
// mailserver's Archive, which neither indexes nor fsyncs, from writers
// goroutines, into a database in dir. The time does not include making the
// envelopes.
func TimeArchive(ctx context.Context, l Load, dir string, writers int) (Timing, error) {
	out, err := run(ctx, append(append([]string{"archive"}, l.args()...), "-db", dir, "-writers", strconv.Itoa(writers))...)
	if err != nil {
		return Timing{}, err
	}
	var t Timing
	return t, json.Unmarshal(out, &t)
}

// run runs the executable to its end and returns its stdout.
func run(ctx context.Context, args ...string) ([]byte, error) {
	exe, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	stderr := &nested.Tail{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("genuine %s: %w%s", args[0], err, stderr)
	}
	return out, nil
}

// Fill archives the load in a running mailserver as TimeArchive does. These
// envelopes do not count in AwaitArchived.
func (n *Node) Fill(ctx context.Context, l Load, writers int) (t Timing, err error) {
	return t, n.call(ctx, "fill", params{Load: &l, Writers: writers}, &t)
}

// Archived is what the mailserver took from the network since it started.
type Archived struct {
	Count int
	// First and Last are when the first and the last were written, Unix
	// nanoseconds of the node's clock.
	First, Last int64
}

// AwaitArchived returns once the mailserver archived at least count envelopes
// that came from peers or were posted. With 0 it returns at once.
func (n *Node) AwaitArchived(ctx context.Context, count int) (a Archived, err error) {
	return a, n.call(ctx, "archived", params{Count: count}, &a)
}
