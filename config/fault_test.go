package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// read is Read of a text, with the faults as they are printed, but for the directory.
func read(t testing.TB, text string) (file *File, c Config, told []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	c = Defaults()
	file, faults := Read(path, &c)
	more := c.Faults()
	file.Place(more, &c)
	for _, fault := range append(faults, more...) {
		told = append(told, strings.TrimPrefix(fault.Error(), filepath.Dir(path)+"/"))
	}
	return file, c, told
}

// Each fault of a file is told, with its line, and what is between them counts.
func TestReadTellsEveryFault(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // what each line begins with and ends with, with … between
	}{
		"none":          {"[Node]\nMaxPeers = 3\n", nil},
		"unknown":       {"[Node]\nA = 1\nB = 2\n[Nowhere]\nC = 3\nD = 4\n", []string{`line 2: there is no setting "Node.A"…`, `line 3: there is no setting "Node.B"…`, `line 4: there is no setting "Nowhere"…`}},
		"types":         {"[Node]\nMaxPeers = \"3\"\nNoDiscovery = 1\n[Shh]\nMinimumAcceptedPOW = \"x\"\n", []string{`line 2: …give a whole number`, `line 3: …give true or false`, `line 5: …give a number`}},
		"list's type":   {"[Node]\nStaticNodes = \"a\"\n[RPC.HTTP]\nAPI = [\n 1,\n 2]\n", []string{`line 2: …such as ["a", "b"]`, `line 4: …give text, in quotes`}},
		"syntax":        {"[Node]\nMaxPeers 3\n[Log]\nVerbosity =\nFormat = 'xml'\n", []string{`line 2: …Key = value`, `line 4: Log.Verbosity has no value`, `line 5: Log.Format …`}},
		"open list":     {"[Node]\nStaticNodes = [\"a\",\n\"b\"\nMaxPeers = 3\n[Log]\nVerbosity = 9\n", []string{`line 4: the list of Node.StaticNodes…`, `line 6: Log.Verbosity …`}},
		"table twice":   {"[Log]\nVerbosity = 9\n[Log]\nFormat = 'x'\n[Node]\nMaxPeers = -1\n", []string{`line 2: Log.Verbosity…`, `line 3: Log is there for the second time…`, `line 6: Node.MaxPeers…`}},
		"other case":    {"[node]\nmaxpeers = -1\n", []string{`line 2: Node.MaxPeers…`}},
		"dotted":        {"Node.MaxPeers = -1\nRPC.HTTP.Port = 70000\n", []string{`line 1: …`, `line 2: …`}},
		"spelled twice": {"[Node]\nMaxPeers = 1\nmaxpeers = 2\nNAT = 'none'\nnat = 'none'\n", []string{`line 3: …keep one`, `line 5: …keep one`}},
		"providers": {"[[Push.Provider]]\nType = 'fcm'\n[[Push.Provider]]\nRate = 0\nEvery = 3\n[[Push.Provider]]\nType = 'fcm'\nBurst = -1\n[Push.Provider.Nested]\nX = 1\n",
			[]string{`line 3: the [[Push.Provider]] table number 2 has no Type…`, `line 4: Rate of …`, `line 5: Every of …`, `line 6: two [[Push.Provider]] tables are named "fcm"…`, `line 8: Burst of the provider "fcm" is -1…`}},
		"one provider":   {"[Push.Provider]\nType = 'fcm'\n[Node]\nMaxPeers = -1\n", []string{`line 1: providers are tables in double brackets…`, `line 4: …`}},
		"both listeners": {"[Metrics]\nEnabled = true\nPort = 30303\n", []string{`line 3: Node.ListenAddr (--port) and Metrics.Port (--metrics.port) are both 30303…`}},
		"not of a line":  {"[Push]\nSkipChallenge = [\n'x']\n", []string{`line 2: Push.SkipChallenge lists "x"…`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, told := read(t, test.text)
			byText := append([]string{}, told...)
			require.Len(t, byText, len(test.want), "%q", told)
			for _, want := range test.want {
				begins, ends, _ := strings.Cut(want, "…")
				found := false
				for _, line := range told {
					line = strings.TrimPrefix(line, "node.toml ")
					found = found || strings.HasPrefix(line, begins) && strings.HasSuffix(line, ends)
				}
				require.True(t, found, "no %q in %q", want, told)
			}
		})
	}
}

// What is right of a file with faults is read, so that its own faults are found too.
func TestReadKeepsWhatIsRight(t *testing.T) {
	_, c, _ := read(t, "[Node]\nMaxPeers = 7\nNAT = 3\n[Log]\nVerbosity = = 4\nFormat = 'json'\n[[Push.Provider]]\nType = 'fcm'\nRate = 'x'\nInfo = 'sender'\n")
	require.Equal(t, 7, c.Node.MaxPeers)
	require.Equal(t, "any", c.Node.NAT)
	require.Equal(t, "json", c.Log.Format)
	require.Equal(t, []Provider{{Name: "fcm", Type: "fcm", Info: "sender", Options: map[string]any{}}}, c.Push.Provider)
}

// A setting that a flag has changed since is not of the file any more.
func TestPlace(t *testing.T) {
	file, c, _ := read(t, "[Node]\nMaxPeers = 3\nNAT = 'none'\n")
	c.Node.MaxPeers = -1
	faults := []Fault{{Key: "Node.MaxPeers", Err: os.ErrInvalid}, {Key: "Node.NAT", Err: os.ErrInvalid}, {Key: "Log.Format", Err: os.ErrInvalid}, {Err: os.ErrInvalid}}
	file.Place(faults, &c)
	require.Equal(t, 3, faults[0].Line, "those with a line come first")
	require.Equal(t, "Node.NAT", faults[0].Key)
	for _, fault := range faults[1:] {
		require.Zero(t, fault.Line, fault.Key)
	}
	var none *File
	none.Place(faults, &c)
}

// Every key that a fault of the settings names is a key.
func TestFaultsNameKeys(t *testing.T) {
	c := Config{Push: Push{Provider: []Provider{{Burst: -1, Every: -1, Rate: -2, Info: strings.Repeat("x", 1000)}, {}}}}
	c.Node.ListenAddr, c.Node.NAT, c.Node.MaxPeers, c.Node.KeyHex, c.Node.KeyFile = "x", "x", -1, "x", "~"
	c.RPC.HTTP.Enabled, c.RPC.HTTP.Port, c.RPC.WS.Port, c.Metrics.Addr = true, -1, 70000, "a:1"
	known := map[string]bool{}
	for _, key := range keysOf(&c) {
		known[key] = true
	}
	faults := c.Faults()
	require.Greater(t, len(faults), 20)
	for _, fault := range faults {
		key := fault.Key
		for _, i := range []int{0, 1} {
			if name, ok := strings.CutPrefix(key, ProviderTable(i)); ok {
				require.Contains(t, commonKeys, name)
				key = providerKey
			}
		}
		require.True(t, known[key] || strings.Contains(fault.Err.Error(), "--nodekeyhex"), "%q: %v", fault.Key, fault.Err)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{"", "[Node]\nMaxPeers = 3\n", "[[Push.Provider]]\nType = 'fcm'\n", "[Node\n", "a = [\n'''", "[Push]\nProvider = [1, {Type = 3}]\n", "Push = 3", "[Push]\nProvider = []", "\"\" = 1", "[Node.\"\"]\n\"a.b\" = 1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _, told := read(t, text)
		again, _, second := read(t, text)
		require.NotNil(t, again)
		require.Equal(t, told, second)
		for _, line := range told {
			require.NotContains(t, line, "\n", "one sentence is one line")
		}
	})
}
