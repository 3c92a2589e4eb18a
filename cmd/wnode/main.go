// Command wnode is a Whisper node that archives mail and wakes the devices it is for. See wnode --help.
package main

import (
	"context"
	"os"

	"whisperpush/wnode"
)

func main() {
	os.Exit(wnode.Main(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
