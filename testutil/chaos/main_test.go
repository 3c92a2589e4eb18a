//go:build linux

package chaos

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"whisperpush/wnode"
)

// How much is done. The defaults are for an ordinary go test.
var (
	seedFlag    = flag.Uint64("cluster.seed", 0, "seed of the run; 0: a random one, which is printed")
	timeFlag    = flag.Duration("cluster.time", 0, "how long things are broken; 0: the test is skipped")
	devicesFlag = flag.Int("cluster.devices", 30, "how many devices there are")
	beforeFlag  = flag.String("cluster.before", "", "commit whose program runs at one of the nodes, and at another after each kill; none: all run this one")
	everyFlag   = flag.Duration("cluster.every", 100*time.Millisecond, "pause between two messages")
)

// childVar tells the test binary to be a node.
const childVar = "WHISPERPUSH_CLUSTER_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(wnode.Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	flag.Parse()
	if *seedFlag == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		*seedFlag = binary.BigEndian.Uint64(b[:])
	}
	fmt.Printf("cluster: seed %d\n", *seedFlag)
	code := m.Run()
	// The process-wide tickers of go-ethereum's metrics, and what goleveldb leaves of devp2p's node tables.
	err := goleak.Find(goleak.IgnoreAnyFunction("github.com/ethereum/go-ethereum/metrics.(*meterTicker).loop"),
		goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
	if err != nil && code == 0 {
		fmt.Println("cluster:", err)
		code = 1
	}
	os.Exit(code)
}
