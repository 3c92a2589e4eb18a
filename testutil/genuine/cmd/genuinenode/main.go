// Command genuinenode is the last go-ethereum that spoke Whisper, v1.9.20, as a
// process that tests and benchmarks drive: its own p2p.Server, whisperv6 and
// mailserver, unmodified, assembled as its cmd/wnode assembles them, with a
// control channel instead of the terminal.
//
//	genuinenode serve [flags]      run a node, controlled by JSON lines on stdin and stdout
//	genuinenode generate [flags]   write envelopes to a file: RLP, one after another
//	genuinenode archive [flags]    time the mailserver's Archive in process
//
// The control protocol: a request is {"id", "method", "params"}, its response
// {"id", "result"} or {"id", "error"}, in any order. Unsolicited events are
// {"event", "data"}: first ready, then peer and message. The end of stdin stops
// the node. Package genuinenode of the main module speaks this protocol; the
// methods are those in control.go.
package main

import (
	"fmt"
	"os"

	"github.com/ethereum/go-ethereum/log"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("want a command: serve, generate or archive"))
	}
	run, ok := map[string]func([]string) error{"serve": serve, "generate": generate, "archive": archive}[os.Args[1]]
	if !ok {
		fail(fmt.Errorf("unknown command %q: want serve, generate or archive", os.Args[1]))
	}
	if err := run(os.Args[2:]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "genuinenode:", err)
	os.Exit(1)
}

// logTo sends the genuine packages' log at the level (0 crit … 5 trace) to stderr.
func logTo(level int) {
	log.Root().SetHandler(log.LvlFilterHandler(log.Lvl(level), log.StreamHandler(os.Stderr, log.LogfmtFormat())))
}
