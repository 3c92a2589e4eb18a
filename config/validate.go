package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/nat"
	"github.com/ethereum/go-ethereum/p2p/netutil"
)

// Limits of settings that no other package checks.
const (
	maxMessageSize = 10 << 20 // the protocol's own, see Shh.MaxMessageSize
	maxPeers       = 10_000
	maxVerbosity   = 5

	maxRequestsPerMinute = 1_000_000

	maxProviders     = 32   // the protocol's own
	maxInfo          = 512  // bytes, the protocol's own
	maxChannels      = 3700 // the protocol's own
	maxRegistrations = 100_000_000
	maxPushPoW       = 10 // the client's own
	minOverlap       = time.Minute
	maxOverlap       = 365 * day
	minLifetime      = time.Hour
	maxLifetime      = 10 * 365 * day
	maxTTL           = 28 * day // for how long FCM keeps a message, the longest of all services
	maxSilentAfter   = 1_000_000
	maxLadderDelay   = time.Hour
	maxFanOut        = maxRegistrations
	maxRate          = 1e6 // more than any push service takes
	maxBlur          = time.Hour
	maxBurst         = 1000
	maxRings         = 1_000_000
	maxEvery         = time.Hour

	minArchive = 64 << 20 // bytes; a partition and its journal take some of it
	maxPoW     = 1000     // a second of many computers
)

// Namespaces are the JSON-RPC namespaces that RPC.HTTP.API and RPC.WS.API may list.
func Namespaces() []string { return []string{"shh", "shhext", "net", "web3", "push", "admin"} }

// Validate checks every setting that can be checked without touching disk or network. The error joins one sentence
// for each problem: what is wrong, in which setting, and what to do.
func (c *Config) Validate() error {
	var all []error
	for _, fault := range c.Faults() {
		all = append(all, fault.Err)
	}
	return errors.Join(all...)
}

// Faults are the problems that Validate joins, each with the key of its setting.
func (c *Config) Faults() []Fault {
	v := new(problems)
	v.node(&c.Node)
	v.shh(&c.Shh)
	v.check("Mailserver.MaxBytes", c.Mailserver.MaxBytes == 0 || c.Mailserver.MaxBytes >= minArchive,
		"Mailserver.MaxBytes is %d; give at least %d bytes (64 MiB), or 0 for no limit", c.Mailserver.MaxBytes, minArchive)
	v.number("Mailserver.RequestsPerMinute", c.Mailserver.RequestsPerMinute, 1, maxRequestsPerMinute)
	v.check("Mailserver.MaxAnswerBytes", c.Mailserver.MaxAnswerBytes >= maxMessageSize, "Mailserver.MaxAnswerBytes is %d; give at least %d, for the largest envelope must fit", c.Mailserver.MaxAnswerBytes, maxMessageSize)
	v.check("Mailserver.Retention", c.Mailserver.Retention >= 0, "Mailserver.Retention (--mailserver.retention) is negative; give a duration such as \"30d\", or 0 to keep mail for ever")
	v.path("Mailserver.PasswordFile (--mailserver.password)", c.Mailserver.PasswordFile)
	v.path("Push.KeyFile", c.Push.KeyFile)
	v.path("Push.DiskKeyFile", c.Push.DiskKeyFile)
	v.duration("Push.KeyOverlap", c.Push.KeyOverlap, minOverlap, maxOverlap)
	v.path("RPC.IPCPath (--ipcpath)", c.RPC.IPCPath)
	v.push(&c.Push)
	v.rpc(&c.RPC)
	v.door(&c.Door)
	v.host("Metrics.Addr (--metrics.addr)", c.Metrics.Addr, "metrics.port")
	v.port("Metrics.Port (--metrics.port)", c.Metrics.Port)
	v.host("Status.Addr (--status.addr)", c.Status.Addr, "status.port")
	v.port("Status.Port (--status.port)", c.Status.Port)
	v.path("Status.TokenFile (--status.token)", c.Status.TokenFile)
	v.check("Status.Addr", !c.Status.Enabled || c.Status.TokenFile != "" || loopback(c.Status.Addr),
		"Status.Addr (--status.addr) is %q, where other computers reach the status page; give a password file with --status.token, or 127.0.0.1", c.Status.Addr)
	v.listeners(c)
	v.check("Log.Verbosity", c.Log.Verbosity >= 0 && c.Log.Verbosity <= maxVerbosity,
		"Log.Verbosity (--verbosity) is %d; give 0 (nothing) to %d (everything)", c.Log.Verbosity, maxVerbosity)
	v.check("Log.Format", c.Log.Format == "text" || c.Log.Format == "json", "Log.Format (--log.format) is %q; give \"text\" or \"json\"", c.Log.Format)
	return v.found
}

// problems collects faults.
type problems struct {
	found []Fault
	table string // of the provider whose keys are checked, with a dot at its end; empty: keys are whole
}

// check adds a fault unless ok. setting begins with the key, as in "Node.MaxPeers (--maxpeers)"; empty: of no key.
func (v *problems) check(setting string, ok bool, format string, args ...any) {
	if ok {
		return
	}
	key, _, _ := strings.Cut(setting, " ")
	if key != "" || v.table != "" {
		key = strings.TrimSuffix(v.table+key, ".")
	}
	v.found = append(v.found, Fault{Key: key, Err: fmt.Errorf(format, args...)})
}

// store checks the URL of a database, of which it quotes nothing: there may be a password in it.
func (v *problems) store(setting, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	ok := err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
	v.check(setting, ok, "%s is no URL of a PostgreSQL database; give postgres://ROLE@HOST/DATABASE?sslmode=verify-full, special characters as %%xx", setting)
	if !ok {
		return
	}
	_, has := u.User.Password()
	v.check(setting, !has && !u.Query().Has("password"), "%s has a password in it, which others on this computer may see; put it into a file and name that with Node.StorePasswordFile (--store.password)", setting)
}

func (v *problems) node(n *Node) {
	v.path("Node.DataDir (--datadir)", n.DataDir)
	v.path("Node.KeyFile (--nodekey)", n.KeyFile)
	v.store("Node.Store (--store)", n.Store)
	v.path("Node.StorePasswordFile (--store.password)", n.StorePasswordFile)
	host, _, err := net.SplitHostPort(n.ClusterAddr)
	v.check("Node.ClusterAddr", err == nil && host != "" && !net.ParseIP(host).IsUnspecified(),
		"Node.ClusterAddr (--cluster.addr) is %q; give host:port with an address of this computer that other nodes reach, such as \"10.0.0.5:30310\"", n.ClusterAddr)
	_, port, err := net.SplitHostPort(n.ListenAddr)
	v.check("Node.ListenAddr", err == nil, "Node.ListenAddr is %q; give host:port, such as \":30303\"", n.ListenAddr)
	if err == nil {
		number, err := strconv.Atoi(port)
		v.check("Node.ListenAddr", err == nil && number >= 0 && number <= math.MaxUint16,
			"the port in Node.ListenAddr (--port) is %q; give 0 to 65535", port)
	}
	v.check("Node.MaxPeers", n.MaxPeers >= 0 && n.MaxPeers <= maxPeers, "Node.MaxPeers (--maxpeers) is %d; give 0 to %d", n.MaxPeers, maxPeers)
	v.enodes("Node.BootstrapNodes (--bootnodes)", n.BootstrapNodes, dialled)
	v.enodes("Node.StaticNodes", n.StaticNodes, dialled)
	v.enodes("Node.TrustedNodes", n.TrustedNodes, !dialled)
	_, err = nat.Parse(n.NAT)
	v.check("Node.NAT", err == nil, "Node.NAT (--nat) is %q; give \"none\", \"any\", \"upnp\", \"pmp\", \"pmp:<gateway>\", \"stun\" or \"extip:<IP>\"", n.NAT)
	_, err = netutil.ParseNetlist(n.NetRestrict)
	v.check("Node.NetRestrict", err == nil, "Node.NetRestrict (--netrestrict) is %q; give CIDR masks such as \"10.0.0.0/8,192.168.0.0/16\"", n.NetRestrict)
	if n.KeyHex != "" {
		_, err = crypto.HexToECDSA(n.KeyHex)
		// The key itself is a secret even when it is a wrong one.
		v.check("", err == nil, "--nodekeyhex is no secp256k1 private key; give 64 hex digits")
		v.check("Node.KeyFile", n.KeyFile == "", "--nodekeyhex and Node.KeyFile (--nodekey) are both given; give one of them")
	}
}

// path refuses what only a shell understands.
func (v *problems) path(what, path string) {
	v.check(what, path != "~" && !strings.HasPrefix(path, "~/"), "%s is %q, and only a shell replaces the ~; write the whole path", what, path)
}

// dialled says of a list of nodes that the node goes to them, and so needs their addresses.
const dialled = true

func (v *problems) enodes(what string, urls []string, dialled bool) {
	const example = "enode://<128 hex digits>@203.0.113.7:30303"
	for _, url := range urls {
		n, err := enode.Parse(enode.ValidSchemes, url)
		v.check(what, err == nil, "%s lists %q, which is no node; give enode URLs, such as %q", what, url, example)
		if err != nil || !dialled {
			continue
		}
		ip := n.IPAddr()
		switch {
		case !ip.IsValid() && n.Hostname() == "":
			v.check(what, false, "%s lists %q, which has no address of a node; give enode URLs, such as %q", what, url, example)
		case ip.IsValid() && ip.IsUnspecified():
			v.check(what, false, "%s lists %q, and at %v no node can be reached; put the address there at which others reach it", what, url, ip)
		case n.TCP() == 0:
			v.check(what, false, "%s lists %q, whose port is 0; give the port on which it listens", what, url)
		}
	}
}

// host checks the interface that something listens on.
func (v *problems) host(what, addr, portFlag string) {
	_, err := Host(addr, portFlag)
	v.check(what, err == nil, "%s is %q, %w", what, addr, err)
}

// listeners refuses two of the node's own on one port, of which the second would blame another program.
func (v *problems) listeners(c *Config) {
	var all []listener
	add := func(on bool, setting, addr string, port int) {
		if host, err := Host(addr, ""); on && err == nil {
			all = append(all, listener{setting, cmp.Or(host, "127.0.0.1"), port})
		}
	}
	if host, port, err := net.SplitHostPort(c.Node.ListenAddr); err == nil {
		number, _ := strconv.Atoi(port)
		add(true, "Node.ListenAddr (--port)", cmp.Or(host, "::"), number)
	}
	http, ws := c.RPC.HTTP, c.RPC.WS
	shared := http.Enabled && http.Addr == ws.Addr // with the same port it is one listener for both
	add(http.Enabled, "RPC.HTTP.Port (--http.port)", http.Addr, http.Port)
	add(ws.Enabled && !(shared && http.Port == ws.Port), "RPC.WS.Port (--ws.port)", ws.Addr, ws.Port)
	add(c.Door.Enabled, "Door.Port (--door.port)", c.Door.Addr, c.Door.Port)
	add(c.Metrics.Enabled, "Metrics.Port (--metrics.port)", c.Metrics.Addr, c.Metrics.Port)
	add(c.Status.Enabled, "Status.Port (--status.port)", c.Status.Addr, c.Status.Port)
	for i, one := range all {
		for _, other := range all[:i] {
			v.check(one.setting, !one.collides(other), "%s and %s are both %d; give one of them another port", other.setting, one.setting, one.port)
		}
	}
}

func (v *problems) shh(s *Shh) {
	v.check("Shh.MinimumAcceptedPOW", s.MinimumAcceptedPOW >= 0 && !math.IsInf(s.MinimumAcceptedPOW, 0) && !math.IsNaN(s.MinimumAcceptedPOW),
		"Shh.MinimumAcceptedPOW (--shh.pow) is %v; give a number from 0", s.MinimumAcceptedPOW)
	v.check("Shh.MinimumAcceptedPOW", !(s.MinimumAcceptedPOW > maxPoW) || math.IsInf(s.MinimumAcceptedPOW, 0),
		"Shh.MinimumAcceptedPOW (--shh.pow) is %v, and no sender could work so much; give at most %d", s.MinimumAcceptedPOW, maxPoW)
	v.check("Shh.MaxMessageSize", s.MaxMessageSize <= maxMessageSize, "Shh.MaxMessageSize (--shh.maxmessagesize) is %d; the protocol allows at most %d bytes", s.MaxMessageSize, maxMessageSize)
}

func (v *problems) push(p *Push) {
	v.check("Push.Provider", len(p.Provider) <= maxProviders, "there are %d [[Push.Provider]] tables; at most %d are allowed", len(p.Provider), maxProviders)
	names := map[string]bool{}
	for i, provider := range p.Provider {
		v.table = ProviderTable(i)
		v.check("Type", provider.Type != "", "the [[Push.Provider]] table number %d has no Type; add one, such as Type = \"fcm\"", i+1)
		v.check("Name", !names[provider.Name], "two [[Push.Provider]] tables are named %q; give each a Name of its own", provider.Name)
		names[provider.Name] = true
	}
	for i, provider := range p.Provider {
		v.table = ProviderTable(i)
		for _, file := range provider.Files() {
			v.path(fmt.Sprintf("%s of the provider %q", file.Key, provider.Name), file.Path)
		}
		v.check("Burst", provider.Burst >= 0 && provider.Burst <= maxBurst, "Burst of the provider %q is %d; give 1 to %d", provider.Name, provider.Burst, maxBurst)
		v.duration("Every of the provider "+strconv.Quote(provider.Name), provider.Every, 0, maxEvery)
		v.check("Rate", provider.Rate == NoRate || provider.Rate >= 0 && provider.Rate <= maxRate,
			"Rate of the provider %q is %v; give attempts a second up to %v, or -1 for no bound", provider.Name, provider.Rate, maxRate)
		v.check("Info", len(provider.Info) <= maxInfo, "Info of the provider %q has %d bytes; give at most %d", provider.Name, len(provider.Info), maxInfo)
	}
	v.table = ""
	v.number("Push.Limits.Registrations", p.Limits.Registrations, 1, maxRegistrations)
	v.number("Push.Limits.Channels", p.Limits.Channels, 1, maxChannels)
	v.duration("Push.Limits.Lifetime", p.Limits.Lifetime, minLifetime, maxLifetime)
	v.number("Push.Limits.PerSource", p.Limits.PerSource, 1, maxRegistrations)
	v.check("Push.Limits.PoW", p.Limits.PoW >= 0 && p.Limits.PoW <= maxPushPoW, "Push.Limits.PoW is %v; give 0 to %d, which is about a second of a phone", p.Limits.PoW, maxPushPoW)
	for _, file := range p.Vouchers.KeyFiles {
		v.check("Push.Vouchers.KeyFiles", file != "", "Push.Vouchers.KeyFiles has an empty name in it; leave it out")
		v.path("Push.Vouchers.KeyFiles", file)
	}
	v.duration("Push.Vouchers.Term", p.Vouchers.Term, minLifetime, maxLifetime)
	v.number("Push.Vouchers.FreeChannels", p.Vouchers.FreeChannels, 0, maxChannels)
	v.duration("Push.Delivery.TTL", p.Delivery.TTL, time.Minute, maxTTL)
	v.number("Push.Delivery.SilentAfter", p.Delivery.SilentAfter, 0, maxSilentAfter)
	v.duration("Push.Delivery.LadderDelay", p.Delivery.LadderDelay, time.Second, maxLadderDelay)
	v.duration("Push.Delivery.LinkDelay", p.Delivery.LinkDelay, time.Second, maxLadderDelay)
	v.number("Push.Delivery.FanOut", p.Delivery.FanOut, 0, maxFanOut)
	v.duration("Push.Delivery.Jitter", p.Delivery.Jitter, 0, maxBlur)
	v.duration("Push.Delivery.Batch", p.Delivery.Batch, 0, maxBlur)
	v.number("Push.Delivery.Burst", p.Delivery.Burst, 1, maxBurst)
	v.duration("Push.Delivery.Every", p.Delivery.Every, 0, maxEvery)
	for _, name := range p.SkipChallenge {
		v.check("Push.SkipChallenge", names[name], "Push.SkipChallenge lists %q, and no [[Push.Provider]] has that name", name)
	}
}

func (v *problems) rpc(r *RPC) {
	v.host("RPC.HTTP.Addr (--http.addr)", r.HTTP.Addr, "http.port")
	v.host("RPC.WS.Addr (--ws.addr)", r.WS.Addr, "ws.port")
	v.path("RPC.DeviceKeyFile", r.DeviceKeyFile)
	v.check("RPC.HTTP.API", !r.HTTP.Enabled || len(r.HTTP.API) > 0, "RPC.HTTP.API (--http.api) is empty; list what is to be served, of %s", strings.Join(Namespaces(), ", "))
	v.check("RPC.WS.API", !r.WS.Enabled || len(r.WS.API) > 0, "RPC.WS.API (--ws.api) is empty; list what is to be served, of %s", strings.Join(Namespaces(), ", "))
	v.port("RPC.HTTP.Port (--http.port)", r.HTTP.Port)
	v.port("RPC.WS.Port (--ws.port)", r.WS.Port)
	v.namespaces("RPC.HTTP.API (--http.api)", r.HTTP.API)
	v.namespaces("RPC.WS.API (--ws.api)", r.WS.API)
}

func (v *problems) door(d *Door) {
	v.host("Door.Addr (--door.addr)", d.Addr, "door.port")
	v.port("Door.Port (--door.port)", d.Port)
	v.path("Door.CertFile (--door.cert)", d.CertFile)
	v.path("Door.KeyFile (--door.key)", d.KeyFile)
	v.check("Door.KeyFile", (d.CertFile == "") == (d.KeyFile == ""),
		"Door.CertFile (--door.cert) and Door.KeyFile (--door.key) belong together; give both, or neither for plain HTTP")
	v.check("Door.Addr", !d.Enabled || d.CertFile != "" || loopback(d.Addr),
		"Door.Addr (--door.addr) is %q, where others on the way read and change what is not encrypted; give a certificate with --door.cert and --door.key, or 127.0.0.1 and a proxy that has one", d.Addr)
	v.number("Door.Rings", d.Rings, 1, maxRings)
}

func (v *problems) port(what string, port int) {
	v.check(what, port >= 0 && port <= math.MaxUint16, "%s is %d; give 0 to 65535", what, port)
}

func (v *problems) number(what string, n, least, most int) {
	v.check(what, n >= least && n <= most, "%s is %d; give %d to %d", what, n, least, most)
}

func (v *problems) duration(what string, d Duration, least, most time.Duration) {
	v.check(what, time.Duration(d) >= least && time.Duration(d) <= most, "%s is %v; give %v to %v", what, d, Duration(least), Duration(most))
}

func (v *problems) namespaces(what string, names []string) {
	for _, name := range names {
		v.check(what, slices.Contains(Namespaces(), name), "%s lists %q, which is not served; %s", what, name, Suggest(name, Namespaces(), ""))
	}
}
