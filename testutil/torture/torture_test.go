//go:build linux

package torture

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"testing"
	"time"

	"whisperpush/wnode"
)

// How much is done. The defaults are for an ordinary go test.
var (
	seedFlag   = flag.Uint64("torture.seed", 0, "seed of the run; 0: a random one, which is printed")
	roundsFlag = flag.Int("torture.rounds", 3, "kill -9 of the whole node, this many times")
	killsFlag  = flag.Int("torture.kills", 4, "kill -9 of a process that archives, this many times")
	flipsFlag  = flag.Int("torture.flips", 20, "bit flips in each of the archive and the push database")
	scaleFlag  = flag.Int("torture.scale", 1, "size of the overload, in percent of the full one")
)

// childVar tells the test binary to be something else than the tests.
const childVar = "WHISPERPUSH_TORTURE_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVar) {
	case "wnode":
		os.Exit(wnode.Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	case "archive":
		os.Exit(archiveChild(os.Args[1:]))
	}
	flag.Parse()
	if *seedFlag == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		*seedFlag = binary.BigEndian.Uint64(b[:])
	}
	fmt.Printf("torture: seed %d\n", *seedFlag)
	os.Exit(m.Run())
}

// newRand is the source of a test's choices.
func newRand(t testing.TB) *mathrand.Rand {
	stream := uint64(0)
	for _, c := range []byte(t.Name()) {
		stream = stream*131 + uint64(c)
	}
	return mathrand.New(mathrand.NewPCG(*seedFlag, stream))
}

// progress prints a line now and then.
type progress struct {
	t    testing.TB
	last time.Time
}

func (p *progress) line(format string, args ...any) {
	if time.Since(p.last) > 5*time.Second {
		p.last = time.Now()
		fmt.Printf("torture: %s: %s\n", p.t.Name(), fmt.Sprintf(format, args...))
	}
}

// result prints what a test did, and lost.
func result(t testing.TB, format string, args ...any) {
	fmt.Printf("torture: %s: done: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

// between picks a duration.
func between(rng *mathrand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)+1))
}
