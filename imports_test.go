package whisperpush_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layers names, for each package, the packages of this module that it may
// import. A package that is not listed, but for providers, may import nothing of
// ours. Only wnode/node, which builds a node of the others, knows nearly all of them.
var layers = map[string][]string{
	"whisper":                   {},
	"whisper/devp2p":            {"whisper"},
	"whisper/uplink":            {"whisper"},
	"desk":                      {"whisper"},
	"durable":                   {},
	"mailserver/mailwire":       {"whisper"},
	"mailserver/mailclient":     {"whisper", "mailserver/mailwire"},
	"mailserver/archive/engine": {"whisper"},
	"mailserver/archive":        {"whisper", "durable", "mailserver/archive/engine"},
	"mailserver":                {"whisper", "desk", "mailserver/archive", "mailserver/mailwire"},
	"postgres":                  {"whisper", "durable", "mailserver/archive", "mailserver/archive/engine"},
	"pushext/pushwire":          {"whisper"},
	"pushext":                   {"whisper"},
	"pushext/emulate":           {},

	"pushext/pushserver":              {"whisper", "durable", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/vault", "pushext/pushserver/registry", "pushext/pushserver/outbox", "pushext/pushserver/follow", "pushext/pushserver/dispatch", "pushext/pushserver/requests", "pushext/pushserver/measure", "pushext/pushserver/transfer", "pushext/voucher"},
	"pushext/voucher":                 {},
	"pushext/pushserver/spacing":      {"pushext"},
	"pushext/pushserver/measure":      {},
	"pushext/pushserver/registration": {"whisper", "pushext", "pushext/pushwire"},
	"pushext/pushserver/vault":        {"durable"},
	"pushext/pushserver/topics":       {"whisper", "pushext/pushserver/registration"},
	"pushext/pushserver/registry":     {"whisper", "durable", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/spacing", "pushext/pushserver/measure", "pushext/pushserver/vault", "pushext/pushserver/topics"},
	"pushext/pushserver/outbox":       {"durable", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/spacing", "pushext/pushserver/measure", "pushext/pushserver/vault"},
	"pushext/pushserver/follow":       {"whisper", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/spacing", "pushext/pushserver/measure", "pushext/pushserver/outbox"},
	"pushext/pushserver/dispatch":     {"whisper", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/spacing", "pushext/pushserver/measure", "pushext/pushserver/outbox"},
	"pushext/pushserver/requests":     {"whisper", "desk", "pushext", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/measure", "pushext/pushserver/registry", "pushext/pushserver/outbox"},
	"pushext/pushserver/transfer":     {"whisper", "durable", "pushext/pushserver/registration", "pushext/pushserver/vault", "pushext/pushserver/registry", "pushext/pushserver/outbox"},

	"pushext/client":          {"whisper", "whisper/uplink", "mailserver/mailwire", "mailserver/mailclient", "pushext/pushwire", "pushext/client/evidence"},
	"pushext/client/evidence": {"whisper", "mailserver/mailwire", "pushext/pushwire"},
	"pushext/client/inbox":    {"whisper", "pushext/client", "pushext/pushwire"},
	"pushext/client/group":    {"whisper", "pushext/client", "pushext/pushwire"},
	"pushext/client/servers":  {"whisper", "pushext/client", "pushext/client/evidence", "pushext/pushwire"},
	"pushext/client/phone":    {"whisper", "pushext/client", "pushext/client/inbox", "pushext/pushwire"},

	"mailserver/archive/portable": {"whisper", "mailserver/archive"},
	"mailserver/archive/foreign":  {"whisper", "durable"},
	"wnode/backup":                {"durable", "mailserver/archive", "mailserver/archive/portable"},

	"cluster": {"whisper", "desk", "postgres", "pushext", "pushext/pushwire", "pushext/pushserver"},

	// What notifications cost phones is computed with the server's own decisions and the inbox's.
	"simulate": {"whisper", "pushext/fcm", "pushext/pushwire", "pushext/pushserver/registration", "pushext/pushserver/topics", "pushext/pushserver/dispatch", "pushext/client/inbox"},

	"config":           {},
	"wnode/statuspage": {},
	"wnode/health":     {},
	"wnode/rpc":        {"config"},
	"wnode/door":       {"whisper"},
	"web/app":          {},
	"wnode/rpc/shh":    {"whisper"},
	"wnode/rpc/shhext": {"whisper", "whisper/uplink", "mailserver/mailclient", "mailserver/mailwire", "wnode/rpc/shh"},
	"wnode/rpc/push":   {"whisper", "pushext/client", "pushext/pushwire"},
	"wnode/node": append([]string{
		"config", "whisper", "whisper/devp2p", "durable", "mailserver", "mailserver/archive", "mailserver/archive/portable", "postgres", "cluster", "pushext", "pushext/attempt", "pushext/credentials",
		"pushext/pushserver", "pushext/pushwire", "pushext/voucher", "web/app", "wnode/backup", "wnode/door", "wnode/health", "wnode/rpc", "wnode/rpc/push", "wnode/rpc/shh", "wnode/rpc/shhext", "wnode/statuspage",
	}, providers...),
	"wnode": {
		"config", "whisper", "whisper/uplink", "mailserver/mailclient", "mailserver/mailwire", "mailserver/archive", "mailserver/archive/foreign", "mailserver/archive/portable", "postgres", "pushext", "pushext/client", "pushext/client/evidence", "pushext/client/group", "pushext/client/inbox", "pushext/client/servers", "pushext/credentials",
		"pushext/emulate", "pushext/pushserver", "pushext/pushwire", "pushext/voucher", "simulate", "wnode/backup", "wnode/door", "wnode/health", "wnode/node", "wnode/rpc",
	},
	"cmd/wnode":          {"wnode"},
	"cmd/libwhisperpush": {"pushext/client/phone"},

	"mailserver/archive/archivetest": {"durable", "whisper", "mailserver/archive", "wnode/node"}, // which declares what an archive is
}

// providers are what wnode/node can make of a [[Push.Provider]] table.
var providers = []string{
	"pushext/apns", "pushext/direct", "pushext/fcm", "pushext/gorush", "pushext/hms", "pushext/pushy", "pushext/webhook", "pushext/webpush",
}

// outside are the parts that are held to nothing but their own names: test
// equipment and benchmarks.
var outside = []string{"testutil", "bench"}

func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "./...").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		pkg := strings.TrimPrefix(name, "whisperpush/")
		for _, imported := range strings.Fields(imports) {
			ours, ok := strings.CutPrefix(imported, "whisperpush/")
			if !ok {
				continue
			}
			if within(ours, "testutil") && !within(pkg, "testutil") && !within(pkg, "bench") {
				t.Errorf("%s imports %s: test equipment belongs in tests and benchmarks", pkg, ours)
			}
			if strings.HasPrefix(ours, "pushext/pushserver/") && !within(pkg, "pushext/pushserver") && pkg != "simulate" {
				t.Errorf("%s imports %s: the parts of the push server are its own", pkg, ours)
			}
			if !anyWithin(pkg, outside) && !allowed(pkg, ours) {
				t.Errorf("%s imports %s: not a direction of docs/flow.md", pkg, ours)
			}
		}
	}
}

// The database engine is known to durable alone, which says what of it is to be
// relied on, and to the benchmarks that measure us against it. Tests are no exception.
func TestOnlyDurableKnowsItsEngine(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`, "./...").Output()
	require.NoError(t, err)
	users := 0
	for line := range strings.Lines(string(out)) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if !strings.Contains(imports, "goleveldb") {
			continue
		}
		users++
		if !anyWithin(strings.TrimPrefix(name, "whisperpush/"), []string{"durable", "bench"}) {
			t.Errorf("%s imports goleveldb: use what durable offers", name)
		}
	}
	require.GreaterOrEqual(t, users, 2, "durable and durable/faultstore")
}

// The client goes into apps: it must bring no archive, no server and no test
// equipment along, and nothing of go-ethereum's p2p.Server: one package below that
// does not link on Android.
func TestClientIsLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./pushext/client", "./pushext/client/inbox", "./pushext/client/group", "./pushext/client/servers", "./pushext/client/phone").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	for _, heavy := range []string{"whisperpush/mailserver", "whisperpush/pushext", "whisperpush/pushext/pushserver", "whisperpush/durable", "github.com/ethereum/go-ethereum/p2p", "github.com/ethereum/go-ethereum/p2p/nat", "github.com/appleboy/gorush/notify", "testing"} {
		require.NotContains(t, deps, heavy)
	}
}

func allowed(pkg, imported string) bool {
	if list, ok := layers[pkg]; ok {
		for _, l := range list {
			if imported == l {
				return true
			}
		}
		return false
	}
	// A provider: a directory of pushext that imports pushext, or what several
	// providers share, never the reverse and never the server's other parts.
	if within(pkg, "pushext") {
		return imported == "pushext" || within(imported, "pushext") && !anyWithin(imported, []string{"pushext/client", "pushext/emulate", "pushext/pushserver"})
	}
	return within(pkg, "durable") && imported == "durable"
}

func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

func anyWithin(pkg string, dirs []string) bool {
	for _, dir := range dirs {
		if within(pkg, dir) {
			return true
		}
	}
	return false
}
