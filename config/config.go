// Package config is the settings of a node: one Config struct, its defaults, the TOML file, and the checks.
//
// Only wnode imports it. wnode starts from Defaults, lays the file over them with Load, lays the command-line
// flags over that, calls Validate once, and hands plain values to the packages that do the work.
//
// The keys of the file are the names of the fields below and its tables the names of the structs, as users of
// geth know it. The comment of each field is what Dump writes above the key, so it is written for the operator.
package config

// Config is every setting of a node.
type Config struct {
	// The devp2p node: identity, listening, and whom it talks to.
	Node Node
	// The Whisper protocol, shh/6.
	Shh Shh
	// The mailserver: it archives every envelope and answers mail requests.
	Mailserver Mailserver
	// The push server: it wakes the devices that registered. It needs, and turns on, the mailserver.
	Push Push
	// JSON-RPC over a local socket, HTTP and WebSocket.
	RPC RPC
	// The door for devices over HTTPS.
	Door Door
	// The Prometheus endpoint.
	Metrics Metrics
	// The status page: what the node does, for people.
	Status Status
	// What the node logs, on standard error.
	Log Log
}

// Node is the devp2p node.
type Node struct {
	// Directory of everything the node keeps: keys, archive, registrations, socket.
	// One node at a time uses it. Empty: ~/.whisperpush.
	//
	//flag:datadir DIRECTORY
	DataDir string
	// PostgreSQL database for what the node archives and for its registrations, in place of the data directory, such
	// as "postgres://wnode@db.example.org/mail?sslmode=verify-full". Several nodes may share it. No password belongs
	// in it. Empty: the data directory has all.
	//
	//flag:store URL
	Store string
	// File with the password for Store; its first line counts. Empty: PGPASSWORD, or the file that PGPASSFILE names,
	// or ~/.pgpass, or none.
	//
	//flag:store.password FILE
	StorePasswordFile string
	// Address of this computer, as host:port, at which nodes with push that share Store reach each other. They know
	// each other by their keys. A port of 0 is any free one. The default is for nodes on one computer.
	//
	//flag:cluster.addr HOST:PORT
	ClusterAddr string
	// File with the node's secp256k1 private key in hex; its public half is in the enode URL.
	// Empty: nodekey in the data directory, made on the first start.
	//
	//flag:nodekey FILE
	KeyFile string
	// The key itself in hex, for tests; never in a file. Empty: KeyFile decides.
	//
	//flag:nodekeyhex HEX the node's private key in hex, for tests: others on this computer can see it
	KeyHex string `toml:"-"`
	// Address and port for peers, TCP and UDP, as host:port. An empty host is every interface, port 0 any free port.
	//
	//flag:addr INTERFACE interface to listen on for peers (default: all)
	//flag:port PORT port for peers, TCP and UDP; 0 is any free one
	ListenAddr string
	// Most peers at one time. A third is for those the node dials. When the others are full, an idle link gives way
	// to a newcomer. 0: no peers at all.
	//
	//flag:maxpeers NUMBER
	MaxPeers int
	// enode URLs of nodes that help to find others. One that cannot, or whose name does not resolve, is warned of.
	//
	//flag:bootnodes ENODES
	BootstrapNodes []string
	// enode URLs of peers that are dialled and redialled for ever.
	StaticNodes []string
	// enode URLs of peers that may connect beyond MaxPeers. It gives them no other right.
	TrustedNodes []string
	// How peers reach the node through a router: "none", "any", "upnp", "pmp", "pmp:<gateway>", "stun"
	// or "extip:<IP>". Empty: none.
	//
	//flag:nat none|any|upnp|pmp|pmp:<IP>|stun|extip:<IP> how peers reach the node through a router: none|any|upnp|pmp|pmp:<IP>|stun|extip:<IP>
	NAT string
	// Do not search for peers; static and bootstrap nodes are still dialled.
	//
	//flag:nodiscover
	NoDiscovery bool
	// Talk only to these networks, as a comma-separated list of CIDR masks. Empty: no restriction.
	//
	//flag:netrestrict CIDR
	NetRestrict string
}

// Shh is the Whisper protocol.
type Shh struct {
	// Least proof of work of an envelope the node takes, at most 1000. 0: any.
	//
	//flag:shh.pow NUMBER
	MinimumAcceptedPOW float64
	// Largest envelope in bytes, at most 10485760 (10 MiB). 0: 1 MiB.
	//
	//flag:shh.maxmessagesize BYTES
	MaxMessageSize uint32
	// Refuse the link to a light peer while this node is light itself, for neither would relay for the other.
	//
	//flag:shh.restrict-light
	RestrictConnectionBetweenLightClients bool
}

// Mailserver is the archive and the server of mail requests.
type Mailserver struct {
	// Archive envelopes and answer mail requests.
	//
	//flag:mailserver
	Enabled bool
	// File with the password whose key mail requests may be encrypted to; its first line counts.
	// Requests encrypted to the node's public key are answered in any case.
	// Empty: "status-offline-inbox", the password that every Status client knows.
	//
	//flag:mailserver.password FILE
	PasswordFile string
	// How long an envelope is kept, such as "30d", "36h" or "90m". 0: for ever.
	//
	//flag:mailserver.retention DURATION
	Retention Duration
	// Most bytes of archived envelopes, at least 67108864 (64 MiB); the oldest go first. 0: no limit.
	MaxBytes int64
	// Mail requests that a peer may send a minute, and at once.
	RequestsPerMinute int
	// Most bytes of envelopes in the whole answer to a request without a cursor, as geth's clients send them; the
	// rest is cut off. Requests with a cursor get a page at a time.
	MaxAnswerBytes int
}

// Push is the push server.
type Push struct {
	// Serve registrations and send wake-ups.
	//
	//flag:push
	Enabled bool
	// File with the push key in hex: the secp256k1 key that registrations are encrypted to; not the node key.
	// Empty: pushkey in the data directory, made on the first start. Losing it loses every registration.
	KeyFile string
	// For how long the push server answers to the former push key as well when "wnode keys rotate push" makes another, such as
	// "14d". Devices that ask for something meanwhile go on with the new one.
	KeyOverlap Duration
	// File with the key in hex that seals device tokens on the disk. Keep a copy: without it they are unreadable.
	// Empty: push.disk.key in the data directory, made on the first start.
	DiskKeyFile string
	// Names of providers whose registrations count without answering the challenge. For test networks only.
	SkipChallenge []string
	// Tell the whole network every few minutes that this server takes registrations: its enode URL, push key,
	// providers and limits. Off, only those can use it whom you tell its enode URL and push key.
	Announce bool
	// What a registration and all of them together may take.
	Limits Limits
	// What is asked for registrations, if anything.
	Vouchers Vouchers
	// How devices are woken.
	Delivery Delivery
	// The services that wake devices: one [[Push.Provider]] table each. Name is what a registration calls it and
	// is its Type unless given. Burst and Every replace those of [Push.Delivery] for its devices. Rate is how many
	// attempts a second it makes at most, to each host where addresses lead to many; without it what the service
	// documents, and -1 is no bound. Info is told to apps where the server is announced: what they need to get an
	// address, such as a Firebase sender id. The other keys depend on the Type, see docs/providers.md. For instance:
	//
	//   [[Push.Provider]]
	//   Type = "fcm"
	//   CredentialsFile = "/etc/whisperpush/service-account.json"
	//
	//   [[Push.Provider]]
	//   Type = "webhook"
	Provider []Provider
}

// Limits bounds registrations.
type Limits struct {
	// Most registrations, dead ones not counted.
	Registrations int
	// Most channels of one registration, at most 3700.
	Channels int
	// Longest time until a registration has to be renewed, such as "30d".
	Lifetime Duration
	// Most registrations from one network: a /24 of IPv4 or a /48 of IPv6. Behind one of a mobile carrier or a relay
	// are thousands of devices. Those that never proved an address are at most 256 of it, whatever this says.
	PerSource int
	// Least proof of work of a push request; devices are told and do it. 0: none.
	PoW float64
	// Refuse the plain form of wake-ups, which shows the hashes of envelopes to push services. Apps are told before, by
	// the server's offer. Nothing is sent any more to a device that had registered for it, until it registers again.
	SealedOnly bool
}

// Vouchers is how registrations are paid for.
type Vouchers struct {
	// Files with the public keys of who sells vouchers for this server; see "wnode voucher --help". Empty: nothing is
	// to be paid.
	KeyFiles []string
	// How long a voucher pays for a registration, which ends then unless another one is given.
	Term Duration
	// Channels that a registration may have without a voucher. 0: it needs one in any case.
	FreeChannels int
}

// Delivery is how devices are woken.
type Delivery struct {
	// How long a device is to be woken for an envelope, and how long push services keep a wake-up for a device
	// that is offline.
	TTL Duration
	// Wake-ups in a row that a device may leave unfetched before it is left alone until it fetches again. 0: any.
	SilentAfter int
	// How long a device with several routes has to fetch before its next route is tried.
	LadderDelay Duration
	// The same for a device that was rung over its own link (Type = "direct"): one that is there fetches at once.
	// Above 10s its next route has too little left of the 15 seconds promised.
	LinkDelay Duration
	// Devices that are woken for one envelope at most, where more than 256 listen to its topic. Those left out are
	// chosen by lot and counted; they find the envelope with their next fetch. 0: no bound.
	FanOut int
	// A wake-up waits for the next full Batch of the clock, when those of all devices leave, and then for a random
	// part of Jitter, so that push services learn less from the time which envelope it was for. It costs half of
	// both on average and all at most; together above 10s, the 15 seconds promised are not kept. 0: no wait.
	Jitter, Batch Duration
	// Wake-ups that one device may have at once; then it has one each Every.
	Burst int
	// Time until a device may have one more wake-up; what matches meanwhile is in that one. Above 15s a message may
	// wait longer than the 15 seconds promised. 0: no limit.
	Every Duration
}

// RPC is the JSON-RPC interface.
type RPC struct {
	// Do not open the local socket.
	//
	//flag:ipcdisable
	IPCDisable bool
	// Path of the local socket; only its owner may use it. A bare name is put into the data directory.
	// Empty: whisperpush.ipc.
	//
	//flag:ipcpath PATH
	IPCPath string
	// File of the key that the devices of local programs (the namespace push) are sealed with on disk: 32 bytes in hex.
	// Empty: devices.key in the data directory, made with the first device.
	DeviceKeyFile string
	// JSON-RPC over HTTP.
	HTTP HTTP
	// JSON-RPC over WebSocket. With HTTP's address and port, both share one listener.
	WS WS
}

// HTTP is JSON-RPC over HTTP.
type HTTP struct {
	// Serve JSON-RPC over HTTP. Whoever reaches it can read the keys that were given to the node.
	//
	//flag:http
	Enabled bool
	// Interface to listen on. Empty: 127.0.0.1.
	//
	//flag:http.addr INTERFACE
	Addr string
	// Port to listen on. 0: any free port.
	//
	//flag:http.port PORT
	Port int
	// Namespaces served: shh, shhext, net, web3, push, admin; at least one.
	//
	//flag:http.api NAMES
	API []string
	// Web origins that may call from a browser; "*" is every one. Empty: none.
	//
	//flag:http.corsdomain ORIGINS
	CORSDomain []string
	// Host names by which the server may be called; "*" is every one. An IP address always may.
	//
	//flag:http.vhosts NAMES
	VHosts []string
}

// WS is JSON-RPC over WebSocket.
type WS struct {
	// Serve JSON-RPC over WebSocket. Whoever reaches it can read the keys that were given to the node.
	//
	//flag:ws
	Enabled bool
	// Interface to listen on. Empty: 127.0.0.1.
	//
	//flag:ws.addr INTERFACE
	Addr string
	// Port to listen on. 0: any free port.
	//
	//flag:ws.port PORT
	Port int
	// Namespaces served: shh, shhext, net, web3, push, admin; at least one.
	//
	//flag:ws.api NAMES
	API []string
	// Web origins that may connect from a browser; "*" is every one. Empty: this host only.
	//
	//flag:ws.origins ORIGINS
	Origins []string
}

// Door is the door for devices over HTTPS.
type Door struct {
	// Serve devices over HTTPS too, for browsers and apps that have no devp2p: the same requests and answers, of
	// push and of mail as far as they are on, posts, and rings.
	//
	//flag:door
	Enabled bool
	// Interface to listen on. Without a certificate it must be one of this computer, with a proxy before it or for
	// programs here. Empty: 127.0.0.1.
	//
	//flag:door.addr INTERFACE
	Addr string
	// Port to listen on. 0: any free port.
	//
	//flag:door.port PORT
	Port int
	// PEM file of the certificate, with those that lead to its root behind it. It is read again when it changes. Empty:
	// plain HTTP.
	//
	//flag:door.cert FILE
	CertFile string
	// PEM file of the certificate's key. It is read again when it changes.
	//
	//flag:door.key FILE
	KeyFile string
	// The proxy before the door tells in the last address of X-Forwarded-For where a request comes from. It is
	// believed from this computer and from private networks alone. Without it, all that a proxy brings shares the
	// limits of one stranger.
	ForwardedFor bool
	// Most devices that are rung over streams of their own at one time (Type = "direct"); half as many connections
	// again are taken, each a file. When they are all taken, one gives way to a newcomer: see docs/limits.md.
	Rings int
	// Serve a small messenger for browsers at the door's address. Its page, and all keys, are the browser's.
	//
	//flag:door.app
	App bool
}

// Metrics is the Prometheus endpoint.
type Metrics struct {
	// Serve /metrics, /healthz and /readyz over HTTP.
	//
	//flag:metrics
	Enabled bool
	// Interface to listen on. Empty: 127.0.0.1.
	//
	//flag:metrics.addr INTERFACE
	Addr string
	// Port to listen on. 0: any free port.
	//
	//flag:metrics.port PORT
	Port int
}

// Status is the status page.
type Status struct {
	// Serve a page over HTTP that shows what the node does. It has counts only: no token, topic, host or peer.
	//
	//flag:status
	Enabled bool
	// Interface to listen on. Where other computers reach it, TokenFile is needed. Empty: 127.0.0.1.
	//
	//flag:status.addr INTERFACE
	Addr string
	// Port to listen on. 0: any free port.
	//
	//flag:status.port PORT
	Port int
	// File whose first line, of at least 16 characters, is the password that the page asks for; any user name does.
	// Empty: none is asked for.
	//
	//flag:status.token FILE
	TokenFile string
}

// Log is the node's log.
type Log struct {
	// How much to log: 0 nothing, 1 errors, 2 warnings, 3 what happens, 4 details, 5 everything.
	//
	//flag:verbosity LEVEL
	Verbosity int
	// "text" for people, "json" for machines.
	//
	//flag:log.format text|json
	Format string
}
