package node

import (
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"

	"whisperpush/config"
	"whisperpush/wnode/rpc/push"
)

// localDevicesDir is the directory of the devices that local programs keep with this node.
func localDevicesDir(cfg config.Config) string { return filepath.Join(cfg.Node.DataDir, "devices") }

// LocalKeyFile is the file of the key that seals local programs' devices on disk.
func LocalKeyFile(cfg config.Config) KeyFile {
	return KeyFile{
		What: "key of local devices", setting: "RPC.DeviceKeyFile", named: cfg.RPC.DeviceKeyFile, ours: filepath.Join(cfg.Node.DataDir, "devices.key"),
		loss: "the devices of local programs cannot be read", push: localDevicesDir(cfg),
	}
}

// there reports whether the key exists already.
func (k KeyFile) there() bool {
	_, err := os.Stat(k.Path())
	return err == nil
}

// localDevices configures where devices of local programs are kept, and how they reach this node.
func (n *Node) localDevices(cfg config.Config, keys push.Keys, logger *slog.Logger) push.Config {
	own := loopbackOf(n.link.ListenAddr)
	return push.Config{
		Dir: localDevicesDir(cfg),
		Key: func() ([]byte, error) {
			key, _, err := LocalKeyFile(cfg).Load()
			return key, err
		},
		Own: func() (server, pushKey string) {
			current := n.PushKey()
			if current == nil {
				return "", ""
			}
			self := enode.NewV4(n.link.Self().Pubkey(), own.Addr().AsSlice(), int(own.Port()), int(own.Port()))
			return self.URLv4(), hex.EncodeToString(crypto.CompressPubkey(current))
		},
		Keys:    keys,
		Network: n.whisper,
		Logger:  logger,
	}
}

// loopbackOf is the address at which this computer reaches a listener: the loopback interface if it listens on all.
func loopbackOf(listen string) netip.AddrPort {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return netip.AddrPort{}
	}
	if addr.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
