package main

import (
	_ "github.com/ethereum/go-ethereum/p2p"
	_ "github.com/ethereum/go-ethereum/whisper/mailserver"
	_ "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

func main() {}
