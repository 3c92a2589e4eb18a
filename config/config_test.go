package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c := Defaults()
	err := Load(path, &c)
	if err != nil {
		require.NotContains(t, err.Error(), "\n", "one sentence is one line")
	}
	return c, err
}

func TestDefaultsAreValid(t *testing.T) {
	c := Defaults()
	require.NoError(t, c.Validate())
}

func TestDumpRoundTrip(t *testing.T) {
	full := Defaults()
	full.Node.DataDir = `/data "quoted" \ here`
	full.Node.StaticNodes = []string{"enode://a@127.0.0.1:1", "enode://b@127.0.0.1:2"}
	full.Mailserver.Retention = Duration(36 * time.Hour)
	full.Mailserver.RequestsPerMinute, full.Mailserver.MaxAnswerBytes = 7, 1<<30
	full.Push.Enabled, full.Push.Announce = true, true
	full.Push.Limits = Limits{Registrations: 1, Channels: 2, Lifetime: Duration(day), PerSource: 3, PoW: 0.5}
	full.Push.Vouchers = Vouchers{KeyFiles: []string{"/x", "/y"}, Term: Duration(day), FreeChannels: 4}
	full.Push.Delivery = Delivery{TTL: Duration(time.Hour), SilentAfter: 4, LadderDelay: Duration(time.Minute), LinkDelay: Duration(3 * time.Second), FanOut: 7, Jitter: Duration(time.Second), Batch: Duration(2 * time.Second), Burst: 5, Every: Duration(6 * time.Second)}
	full.Push.Provider = []Provider{
		{Name: "fcm", Type: "fcm", Options: map[string]any{"CredentialsFile": "/x", "Timeout": int64(3)}},
		{Name: "fcm-eu", Type: "fcm", Burst: 5, Every: Duration(time.Minute), Rate: 0.5, Info: "sender 1234", Options: map[string]any{"List": []any{"a", "b"}, "Nested": map[string]any{"Key": true}}},
	}
	for name, c := range map[string]Config{"defaults": Defaults(), "full": full} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			require.NoError(t, Dump(&text, c))
			got, err := load(t, text.String())
			require.NoError(t, err, text.String())
			require.Equal(t, c, got)

			var again strings.Builder
			require.NoError(t, Dump(&again, got))
			require.Equal(t, text.String(), again.String())
		})
	}
}

// Every key of the dump has its comment, so that nobody needs the source to write a file.
func TestDumpCommentsEveryKey(t *testing.T) {
	comments, err := fieldComments()
	require.NoError(t, err)
	var walk func(reflect.Type)
	walk = func(s reflect.Type) {
		for field := range fieldsOf(s) {
			require.NotEmpty(t, comments[s.Name()+"."+field.Name], "%s.%s", s.Name(), field.Name)
			if field.Type.Kind() == reflect.Struct {
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestLoadKeepsWhatTheFileDoesNotName(t *testing.T) {
	c, err := load(t, "[Node]\nMaxPeers = 7\n")
	require.NoError(t, err)
	want := Defaults()
	want.Node.MaxPeers = 7
	require.Equal(t, want, c)
}

func TestLoadProvider(t *testing.T) {
	c, err := load(t, "[[Push.Provider]]\nType = \"fcm\"\nCredentialsFile = \"/x\"\nTimeout = \"5s\"\n")
	require.NoError(t, err)
	require.Equal(t, "fcm", c.Push.Provider[0].Name)
	require.Zero(t, c.Push.Provider[0].Rate)
	for text, want := range map[string]float64{"20": 20, "0.5": 0.5, "-1": NoRate} {
		c, err := load(t, "[[Push.Provider]]\nType = \"fcm\"\nRate = "+text+"\n")
		require.NoError(t, err)
		require.Equal(t, want, c.Push.Provider[0].Rate)
	}

	var options struct {
		CredentialsFile string
		Timeout         Duration
	}
	require.NoError(t, c.Push.Provider[0].Decode(&options))
	require.Equal(t, "/x", options.CredentialsFile)
	require.Equal(t, Duration(5*time.Second), options.Timeout)

	var other struct{ CredentialFile string }
	require.EqualError(t, c.Push.Provider[0].Decode(&other),
		`provider "fcm" of type "fcm" has no key "CredentialsFile"; did you mean "CredentialFile"?`)
	var wrong struct {
		CredentialsFile int
		Timeout         Duration
	}
	require.ErrorContains(t, c.Push.Provider[0].Decode(&wrong), `provider "fcm": `)
}

func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"misspelt key":    {"[Node]\n# a comment\nMaxPeer = 1\n", `line 3: there is no setting "Node.MaxPeer"; did you mean "Node.MaxPeers"?`},
		"wrong table":     {"[Node]\nRetention = \"1d\"\n", `line 2: there is no setting "Node.Retention"; did you mean "Mailserver.Retention"?`},
		"no table":        {"MaxPeers = 1\n", `line 1: there is no setting "MaxPeers"; did you mean "Node.MaxPeers"?`},
		"unknown table":   {"\n[Whisper]\nMaxPeers = 1\n", `line 2: there is no setting "Whisper"; here it is [Shh]`},
		"dotted key":      {"Node.Maxpeerz = 1\n", `line 1: there is no setting "Node.Maxpeerz"; did you mean "Node.MaxPeers"?`},
		"wrong type":      {"[Node]\nMaxPeers = \"many\"\n", `line 2: the value of Node.MaxPeers is text; give a whole number`},
		"geth's peers":    {"[Node.P2P]\nMaxPeers = 1\n", `line 1: there is no setting "Node.P2P"; its keys belong to [Node] here; move them there`},
		"geth's peer":     {"[Node]\nP2P.MaxPeers = 1\n", `line 2: there is no setting "Node.P2P"; its keys belong to [Node] here`},
		"geth's pool":     {"[Eth.TxPool]\nX = 1\n", `line 1: there is no setting "Eth"; there is no blockchain here; remove the table`},
		"geth's HTTP":     {"[Node]\nHTTPModules = [\"eth\"]\n", `line 2: there is no setting "Node.HTTPModules"; here it is API in [RPC.HTTP]`},
		"geth's accounts": {"[node]\nnousb = true\n", `line 2: there is no setting "node.nousb"; there are no accounts here; remove the key`},
		"geth's chain":    {"[Eth]\nNetworkId = 1\n", `line 1: there is no setting "Eth"; there is no blockchain here; remove the table`},
		"far from all":    {"[Node]\nColour = 1\n", `line 2: there is no setting "Node.Colour"; wnode dumpconfig prints every setting`},
		"short and far":   {"[Node]\nEth = 1\n", `line 2: there is no setting "Node.Eth"; wnode dumpconfig prints every setting`},
		"single brackets": {"[Push.Provider]\nType = \"fcm\"\n", `line 1: providers are tables in double brackets; write [[Push.Provider]] above the keys of each`},
		"mixed brackets":  {"[[Push.Provider]]\nType = \"fcm\"\n[Push.Provider]\nType = \"apns\"\n", `line 3: providers are tables in double brackets`},
		"double brackets": {"[[Node]]\nMaxPeers = 1\n", `line 1: [[Node]] is in double brackets; write [Node]`},
		"twice a type":    {"[[Push.Provider]]\nType = \"fcm\"\ntype = \"apns\"\n", `has both Type and type, which are the same; keep one`},
		"two spellings":   {"[Node]\nMaxPeers = 1\nmaxpeers = 2\n", `line 3: Node.MaxPeers and Node.maxpeers are the same; keep one`},
		"two tables":      {"[[Push.Provider]]\nType = \"fcm\"\n[[push.provider]]\nType = \"apns\"\n", `line 3: `},
		"option twice":    {"[[Push.Provider]]\nType = \"hms\"\nAppID = \"a\"\nappid = \"b\"\n", `has both AppID and appid, which are the same; keep one`},
		"negative":        {"[Mailserver]\nRetention = \"-5d\"\n", `"-5d" is out of range; a duration is from 0 to 36500 days`},
		"too long":        {"[Mailserver]\nRetention = \"106000d\"\n", `"106000d" is out of range; a duration is from 0 to 36500 days`},
		"duration":        {"[Mailserver]\nRetention = \"1 month\"\n", `"1 month" is not a duration; write it like "30d", "36h" or "90m"`},
		"duplicate":       {"[Node]\nMaxPeers = 1\nMaxPeers = 2\n", `line 3: `},
		"provider scalar": {"[Push]\nProvider = [1]\n", `a provider is a [[Push.Provider]] table`},
		"provider burst":  {"[[Push.Provider]]\nType = \"fcm\"\nBurst = \"many\"\n", `Burst of a [[Push.Provider]] is a whole number, not many`},
		"provider every":  {"[[Push.Provider]]\nType = \"fcm\"\nEvery = 3\n", `Every of a [[Push.Provider]] is a duration such as "10s", not 3`},
		"provider rate":   {"[[Push.Provider]]\nType = \"fcm\"\nRate = \"many\"\n", `Rate of a [[Push.Provider]] is a number, not many`},
		"provider stop":   {"[[Push.Provider]]\nType = \"fcm\"\nRate = 0\n", `Rate of a [[Push.Provider]] is 0, which would send nothing; leave it out`},
		"provider pause":  {"[[Push.Provider]]\nType = \"fcm\"\nEvery = \"3 s\"\n", `Every of a [[Push.Provider]]: `},
		"provider name":   {"[[Push.Provider]]\nName = 1\n", `Name of a [[Push.Provider]] is a string, not 1`},
		"key in the file": {"[Node]\nKeyHex = \"00\"\n", `line 2: there is no setting "Node.KeyHex"; a key does not belong in this file`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.text)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "node.toml")
			require.NotContains(t, err.Error(), "toml: ")
		})
	}
	c := Defaults()
	require.EqualError(t, Load("/no/such/file.toml", &c), `--config: there is no file "/no/such/file.toml"`)
}

func TestValidate(t *testing.T) {
	const node = "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f"
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"listen address": {func(c *Config) { c.Node.ListenAddr = "30303" }, `Node.ListenAddr is "30303"; give host:port`},
		"port":           {func(c *Config) { c.Node.ListenAddr = ":70000" }, `(--port) is "70000"; give 0 to 65535`},
		"peers":          {func(c *Config) { c.Node.MaxPeers = -1 }, `(--maxpeers) is -1; give 0 to`},
		"bootnode":       {func(c *Config) { c.Node.BootstrapNodes = []string{"x"} }, `(--bootnodes) lists "x", which is no node`},
		"nat":            {func(c *Config) { c.Node.NAT = "magic" }, `(--nat) is "magic"; give "none"`},
		"netrestrict":    {func(c *Config) { c.Node.NetRestrict = "10" }, `(--netrestrict) is "10"; give CIDR masks`},
		"no address":     {func(c *Config) { c.Node.BootstrapNodes = []string{node} }, `(--bootnodes) lists "` + node + `", which has no address of a node; give enode URLs`},
		"nowhere":        {func(c *Config) { c.Node.BootstrapNodes = []string{node + "@0.0.0.0:1"} }, `and at 0.0.0.0 no node can be reached; put the address there at which others reach it`},
		"nowhere, v6":    {func(c *Config) { c.Node.StaticNodes = []string{node + "@[::]:1"} }, `Node.StaticNodes lists "` + node + `@[::]:1", and at :: no node can be reached`},
		"many":           {func(c *Config) { c.Node.StaticNodes = []string{node + "@224.0.0.1:1"} }, `which has no address of a node; give enode URLs`},
		"no port":        {func(c *Config) { c.Node.StaticNodes = []string{node + "@127.0.0.1:0"} }, `whose port is 0; give the port on which it listens`},
		"http address":   {func(c *Config) { c.RPC.HTTP.Addr = "127.0.0.1:8545" }, `RPC.HTTP.Addr (--http.addr) is "127.0.0.1:8545", with a port; give "127.0.0.1" here and the port as --http.port 8545`},
		"ws address":     {func(c *Config) { c.RPC.WS.Addr = "http://x" }, `RPC.WS.Addr (--ws.addr) is "http://x", which is neither an IP address nor a host name`},
		"metric address": {func(c *Config) { c.Metrics.Addr = ":6060" }, `Metrics.Addr (--metrics.addr) is ":6060", with a port; give "" here and the port as --metrics.port 6060`},
		"open door":      {func(c *Config) { c.Door.Enabled, c.Door.Addr = true, "0.0.0.0" }, `Door.Addr (--door.addr) is "0.0.0.0", where others on the way read and change what is not encrypted; give a certificate`},
		"half a pair":    {func(c *Config) { c.Door.CertFile = "cert.pem" }, `Door.CertFile (--door.cert) and Door.KeyFile (--door.key) belong together`},
		"rings":          {func(c *Config) { c.Door.Rings = 0 }, `Door.Rings is 0; give 1 to`},
		"door's port":    {func(c *Config) { c.Door.Enabled, c.Metrics.Enabled, c.Door.Port = true, true, c.Metrics.Port }, `Door.Port (--door.port) and Metrics.Port (--metrics.port) are both 6060`},
		"http of all":    {func(c *Config) { c.RPC.HTTP.Enabled, c.RPC.HTTP.API = true, nil }, `RPC.HTTP.API (--http.api) is empty; list what is to be served, of shh, shhext, net, web3, push, admin`},
		"ws of all":      {func(c *Config) { c.RPC.WS.Enabled, c.RPC.WS.API = true, []string{} }, `RPC.WS.API (--ws.api) is empty`},
		"one port":       {func(c *Config) { c.RPC.HTTP.Enabled, c.Metrics.Enabled, c.Metrics.Port = true, true, 8545 }, `RPC.HTTP.Port (--http.port) and Metrics.Port (--metrics.port) are both 8545; give one of them another port`},
		"peers' port":    {func(c *Config) { c.RPC.HTTP.Enabled, c.RPC.HTTP.Port = true, 30303 }, `Node.ListenAddr (--port) and RPC.HTTP.Port (--http.port) are both 30303`},
		"almost shared": {func(c *Config) {
			c.RPC.HTTP.Enabled, c.RPC.WS.Enabled, c.RPC.WS.Port, c.RPC.WS.Addr = true, true, 8545, "localhost"
		}, `RPC.HTTP.Port (--http.port) and RPC.WS.Port (--ws.port) are both 8545`},
		"option's home": {func(c *Config) {
			c.Push.Provider = []Provider{{Name: "a", Type: "fcm", Options: map[string]any{"credentialsfile": "~/x"}}}
		}, `credentialsfile of the provider "a" is "~/x", and only a shell replaces the ~`},
		"key": {func(c *Config) { c.Node.KeyHex = "abc" }, `--nodekeyhex is no secp256k1 private key`},
		"two keys": {func(c *Config) {
			c.Node.KeyHex, c.Node.KeyFile = strings.Repeat("1", 64), "f"
		}, `both given; give one of them`},
		"pow":            {func(c *Config) { c.Shh.MinimumAcceptedPOW = -1 }, `(--shh.pow) is -1`},
		"message size":   {func(c *Config) { c.Shh.MaxMessageSize = 11 << 20 }, `at most 10485760 bytes`},
		"bytes":          {func(c *Config) { c.Mailserver.MaxBytes = -1 }, `Mailserver.MaxBytes is -1`},
		"few bytes":      {func(c *Config) { c.Mailserver.MaxBytes = 1000 }, `Mailserver.MaxBytes is 1000; give at least 67108864 bytes (64 MiB), or 0 for no limit`},
		"home":           {func(c *Config) { c.Node.DataDir = "~/wp" }, `Node.DataDir (--datadir) is "~/wp", and only a shell replaces the ~; write the whole path`},
		"home's key":     {func(c *Config) { c.Push.KeyFile = "~/key" }, `Push.KeyFile is "~/key", and only a shell`},
		"much pow":       {func(c *Config) { c.Shh.MinimumAcceptedPOW = 1e300 }, `(--shh.pow) is 1e+300, and no sender could work so much; give at most 1000`},
		"provider type":  {func(c *Config) { c.Push.Provider = []Provider{{}} }, `table number 1 has no Type`},
		"provider names": {func(c *Config) { c.Push.Provider = []Provider{{Name: "a", Type: "fcm"}, {Name: "a", Type: "fcm"}} }, `named "a"; give each a Name`},
		"mail requests":  {func(c *Config) { c.Mailserver.RequestsPerMinute = 0 }, `Mailserver.RequestsPerMinute is 0; give 1 to`},
		"mail answers":   {func(c *Config) { c.Mailserver.MaxAnswerBytes = 1 }, `Mailserver.MaxAnswerBytes is 1; give at least 10485760`},
		"provider burst": {func(c *Config) { c.Push.Provider = []Provider{{Name: "a", Type: "fcm", Burst: -1}} }, `Burst of the provider "a" is -1`},
		"provider every": {func(c *Config) { c.Push.Provider = []Provider{{Name: "a", Type: "fcm", Every: Duration(day)}} }, `Every of the provider "a" is 1d; give 0s to 1h`},
		"provider info": {func(c *Config) {
			c.Push.Provider = []Provider{{Name: "a", Type: "fcm", Info: strings.Repeat("x", 513)}}
		}, `Info of the provider "a" has 513 bytes`},
		"registrations": {func(c *Config) { c.Push.Limits.Registrations = 0 }, `Push.Limits.Registrations is 0; give 1 to`},
		"channels":      {func(c *Config) { c.Push.Limits.Channels = 3701 }, `Push.Limits.Channels is 3701; give 1 to 3700`},
		"lifetime":      {func(c *Config) { c.Push.Limits.Lifetime = 1 }, `Push.Limits.Lifetime is 1ns; give 1h`},
		"voucher term":  {func(c *Config) { c.Push.Vouchers.Term = 0 }, `Push.Vouchers.Term is 0`},
		"voucher key":   {func(c *Config) { c.Push.Vouchers.KeyFiles = []string{""} }, `Push.Vouchers.KeyFiles has an empty name`},
		"free channels": {func(c *Config) { c.Push.Vouchers.FreeChannels = -1 }, `Push.Vouchers.FreeChannels is -1`},
		"per source":    {func(c *Config) { c.Push.Limits.PerSource = 0 }, `Push.Limits.PerSource is 0`},
		"push work":     {func(c *Config) { c.Push.Limits.PoW = 11 }, `Push.Limits.PoW is 11; give 0 to 10`},
		"ttl":           {func(c *Config) { c.Push.Delivery.TTL = 0 }, `Push.Delivery.TTL is 0s; give 1m`},
		"silence":       {func(c *Config) { c.Push.Delivery.SilentAfter = -1 }, `Push.Delivery.SilentAfter is -1`},
		"jitter":        {func(c *Config) { c.Push.Delivery.Jitter = -1 }, `Push.Delivery.Jitter is`},
		"batch":         {func(c *Config) { c.Push.Delivery.Batch = Duration(2 * time.Hour) }, `Push.Delivery.Batch is`},
		"ladder":        {func(c *Config) { c.Push.Delivery.LadderDelay = 0 }, `Push.Delivery.LadderDelay is 0s`},
		"link":          {func(c *Config) { c.Push.Delivery.LinkDelay = Duration(2 * time.Hour) }, `Push.Delivery.LinkDelay is 2h; give 1s to 1h`},
		"fan-out":       {func(c *Config) { c.Push.Delivery.FanOut = -1 }, `Push.Delivery.FanOut is -1; give 0 to 100000000`},
		"provider rate": {func(c *Config) { c.Push.Provider = []Provider{{Name: "a", Type: "fcm", Rate: -2}} }, `Rate of the provider "a" is -2; give attempts a second up to 1e+06, or -1 for no bound`},
		"burst":         {func(c *Config) { c.Push.Delivery.Burst = 0 }, `Push.Delivery.Burst is 0; give 1 to 1000`},
		"every":         {func(c *Config) { c.Push.Delivery.Every = Duration(2 * time.Hour) }, `Push.Delivery.Every is 2h`},
		"challenge":     {func(c *Config) { c.Push.SkipChallenge = []string{"b"} }, `lists "b", and no [[Push.Provider]]`},
		"http port":     {func(c *Config) { c.RPC.HTTP.Port = -1 }, `(--http.port) is -1`},
		"ws api":        {func(c *Config) { c.RPC.WS.API = []string{"shhh"} }, `lists "shhh", which is not served; did you mean "shh"?`},
		"metrics port":  {func(c *Config) { c.Metrics.Port = 65536 }, `(--metrics.port) is 65536`},
		"verbosity":     {func(c *Config) { c.Log.Verbosity = 9 }, `(--verbosity) is 9`},
		"format":        {func(c *Config) { c.Log.Format = "xml" }, `(--log.format) is "xml"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := Defaults()
			test.change(&c)
			err := c.Validate()
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "\n", "one problem is one sentence")
		})
	}
}

func TestValidateNeverTellsTheKey(t *testing.T) {
	c := Defaults()
	c.Node.KeyHex = "c0ffee"
	require.NotContains(t, c.Validate().Error(), "c0ffee")
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30d": 30 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0d": 0, "1d1ns": day + 1,
	} {
		got, err := ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, time.Duration(got), text)
	}
	for _, text := range []string{"", "d", "-1d", "1d-1h", "-1h", "1.5d", "36501d", "900000h", "1h1d", "x", "1d 1h", "9999999999999d", "9999999999999999999999h"} {
		_, err := ParseDuration(text)
		require.Error(t, err, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, int64(maxDuration)).Draw(t, "nanoseconds"))
		got, err := ParseDuration(d.String())
		require.NoError(t, err)
		require.Equal(t, d, got)
	})
}

// What an operator is told to start from works.
func TestDeployedSettings(t *testing.T) {
	c := Defaults()
	require.NoError(t, Load(filepath.Join("..", "deploy", "node.toml"), &c))
	require.NoError(t, c.Validate())
	require.True(t, c.Push.Enabled)
	require.False(t, c.Push.Announce)
}

// Capitals make no difference in a provider's table either.
func TestProviderKeysInAnyCase(t *testing.T) {
	c, err := load(t, "[[Push.Provider]]\ntype = \"fcm\"\nNAME = \"eu\"\nburst = 3\n")
	require.NoError(t, err)
	require.Equal(t, "fcm", c.Push.Provider[0].Type)
	require.Equal(t, "eu", c.Push.Provider[0].Name)
	require.Equal(t, 3, c.Push.Provider[0].Burst)
	require.Empty(t, c.Push.Provider[0].Options)
}
