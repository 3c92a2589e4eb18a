package config

import (
	"os"
	"path/filepath"
	"time"
)

// DefaultPassword is the mailserver's password while none is configured: the one status-go's clients use.
const DefaultPassword = "status-offline-inbox"

// Defaults returns the settings of a node that was told nothing: a relay without mailserver and push.
func Defaults() Config {
	return Config{
		Node: Node{
			DataDir:        DefaultDataDir(),
			ListenAddr:     ":30303",
			ClusterAddr:    "127.0.0.1:0",
			MaxPeers:       50,
			BootstrapNodes: []string{},
			StaticNodes:    []string{},
			TrustedNodes:   []string{},
			NAT:            "any",
		},
		Shh: Shh{
			MinimumAcceptedPOW: 0.2,
			MaxMessageSize:     1 << 20,
		},
		Mailserver: Mailserver{
			Retention:         Duration(30 * 24 * time.Hour),
			RequestsPerMinute: 120,
			MaxAnswerBytes:    256 << 20,
		},
		Push: Push{
			KeyOverlap:    Duration(14 * 24 * time.Hour),
			SkipChallenge: []string{},
			Limits: Limits{
				Registrations: 1_000_000,
				Channels:      1000,
				Lifetime:      Duration(30 * 24 * time.Hour),
				PerSource:     4096,
				PoW:           0.2,
			},
			Vouchers: Vouchers{
				KeyFiles: []string{},
				Term:     Duration(30 * 24 * time.Hour),
			},
			Delivery: Delivery{
				TTL:         Duration(24 * time.Hour),
				SilentAfter: 30,
				LadderDelay: Duration(30 * time.Second),
				LinkDelay:   Duration(5 * time.Second),
				FanOut:      100_000,
				Burst:       20,
				Every:       Duration(10 * time.Second),
			},
			Provider: []Provider{},
		},
		RPC: RPC{
			IPCPath: "whisperpush.ipc",
			HTTP: HTTP{
				Addr:       "127.0.0.1",
				Port:       8545,
				API:        []string{"shh", "net", "web3"},
				CORSDomain: []string{},
				VHosts:     []string{"localhost"},
			},
			WS: WS{
				Addr:    "127.0.0.1",
				Port:    8546,
				API:     []string{"shh", "net", "web3"},
				Origins: []string{},
			},
		},
		Door:    Door{Addr: "127.0.0.1", Port: 8443, Rings: 10_000},
		Metrics: Metrics{Addr: "127.0.0.1", Port: 6060},
		Status:  Status{Addr: "127.0.0.1", Port: 6061},
		Log:     Log{Verbosity: 3, Format: "text"},
	}
}

// DefaultDataDir is .whisperpush in the user's home directory, or in the working directory if they have none.
func DefaultDataDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".whisperpush"
	}
	return filepath.Join(home, ".whisperpush")
}
