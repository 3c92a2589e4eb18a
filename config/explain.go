package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// elsewhere are keys and tables that people look for here, mostly because geth has them, and what to do about each.
// What is said of a table goes for what is in it.
var elsewhere = map[string]string{
	"Node.P2P":                   "its keys belong to [Node] here; move them there",
	"Node.UserIdent":             noIdent,
	"Node.Name":                  noIdent,
	"Node.IPCPath":               "here it is IPCPath in [RPC]",
	"Node.HTTPHost":              "here it is Addr in [RPC.HTTP]",
	"Node.HTTPPort":              "here it is Port in [RPC.HTTP]",
	"Node.HTTPModules":           "here it is API in [RPC.HTTP]",
	"Node.HTTPCors":              "here it is CORSDomain in [RPC.HTTP]",
	"Node.HTTPVirtualHosts":      "here it is VHosts in [RPC.HTTP]",
	"Node.HTTPTimeouts":          "the timeouts are fixed here; remove the table",
	"Node.WSHost":                "here it is Addr in [RPC.WS]",
	"Node.WSPort":                "here it is Port in [RPC.WS]",
	"Node.WSModules":             "here it is API in [RPC.WS]",
	"Node.WSOrigins":             "here it is Origins in [RPC.WS]",
	"Node.KeyStoreDir":           noAccounts,
	"Node.ExternalSigner":        noAccounts,
	"Node.InsecureUnlockAllowed": noAccounts,
	"Node.UseLightweightKDF":     noAccounts,
	"Node.NoUSB":                 noAccounts,
	"Node.USB":                   noAccounts,
	"Node.KeyHex":                "a key does not belong in this file; name the key's own file in Node.KeyFile",
	"Whisper":                    "here it is [Shh]",
	"Provider":                   "here it is [[Push.Provider]]",
	"Eth":                        noChain,
	"Ethash":                     noChain,
	"Ethstats":                   noChain,
	"Les":                        noChain,
	"Miner":                      noChain,
	"TxPool":                     noChain,
	"Dashboard":                  "there is no dashboard here; remove the table",
	"Metrics.HTTP":               "here it is Addr in [Metrics]",
	"Metrics.EnabledExpensive":   oneMetrics,
	"Metrics.EnableInfluxDB":     oneMetrics,
	"Metrics.EnableInfluxDBV2":   oneMetrics,
}

const (
	noChain    = "there is no blockchain here; remove the table"
	noAccounts = "there are no accounts here; remove the key"
	noIdent    = "the node's name is fixed here; remove the key"
	oneMetrics = "metrics are served to Prometheus alone here; remove the key"
)

// unknownKey is the error about a key that no setting has.
func unknownKey(key toml.Key, known []string) error {
	for n := len(key); n > 0; n-- {
		if advice, ok := adviceFor(key[:n].String()); ok {
			return fmt.Errorf("there is no setting %q; %s", key, advice)
		}
	}
	return fmt.Errorf("there is no setting %q; %s", key, suggestKey(key.String(), known, "wnode dumpconfig prints every setting"))
}

func adviceFor(key string) (string, bool) {
	for name, advice := range elsewhere {
		if strings.EqualFold(name, key) {
			return advice, true
		}
	}
	return "", false
}

// The form of the decoder's errors, where and what, and the forms of the what.
var (
	decoderError = regexp.MustCompile(`^toml: (?:line (\d+) ?)?(?:\(last key "(.*?)"\))?(?:: )?(.*)$`)

	wrongValue = regexp.MustCompile(`^incompatible types: TOML value has type (\S+); destination has type (\S+)`)
	wrongTable = regexp.MustCompile(`^type mismatch for \S+: expected table but found (\S+)`)
	openTable  = regexp.MustCompile(`^expected (?:'\.' or '\]' to end table name|end of table array name delimiter '\]'), but got '(\\n)?`)
	openList   = regexp.MustCompile(`^expected a comma \(','\) or array terminator`)
	noValue    = regexp.MustCompile(`^expected value but found '\\n'`)
	badValue   = regexp.MustCompile(`^expected value but found (".*"|'.*') instead`)
	noPair     = regexp.MustCompile(`^expected '\.' or '=', but got`)
	moreBehind = regexp.MustCompile(`^expected a top-level item to end with a newline, comment, or EOF, but got`)
	defined    = regexp.MustCompile(`^Key '(.*)' has already been defined`)
	badEscape  = regexp.MustCompile(`^invalid escape in string`)
	outOfRange = regexp.MustCompile(`^(\S+) is out of range for`)
	notUTF8    = regexp.MustCompile(`^invalid UTF-8 byte`)
	openString = regexp.MustCompile(`^strings cannot contain newlines`)
)

var errSingleBrackets = errors.New("providers are tables in double brackets; write [[Push.Provider]] above the keys of each")

// explain turns an error of the decoder into the line it is about, 0 if that is not known, and a sentence of ours.
func explain(err error) (line int, _ error) {
	parts := decoderError.FindStringSubmatch(err.Error())
	if parts == nil {
		return 0, err
	}
	line, _ = strconv.Atoi(parts[1])
	key, message := parts[2], parts[3]
	at := func(pattern *regexp.Regexp) []string { return pattern.FindStringSubmatch(message) }
	if m := at(wrongValue); m != nil {
		if key == providerKey {
			return line, errSingleBrackets
		}
		got, _ := inWords(m[1])
		want, example := inWords(m[2])
		return line, fmt.Errorf("the value of %s is %s; give %s%s", key, got, want, example)
	}
	if m := at(wrongTable); m != nil {
		if strings.HasPrefix(m[1], "[]map") {
			return line, fmt.Errorf("[[%s]] is in double brackets; write [%s]", key, key)
		}
		return line, fmt.Errorf("%s is a table; write [%s], and its keys below", key, key)
	}
	if m := at(openTable); m != nil {
		if m[1] != "" { // the decoder has read the line end, and names the line behind it
			line = max(line-1, 1)
		}
		return line, errors.New("the name of a table is not closed; end it as in [Push] or [[Push.Provider]]")
	}
	switch {
	case at(openList) != nil:
		return line, fmt.Errorf(`the list of %s is not closed or lacks a comma; write it as ["a", "b"]`, key)
	case at(noValue) != nil:
		return line, fmt.Errorf("%s has no value", key)
	case at(badValue) != nil:
		return line, fmt.Errorf(`%s cannot be %s; write text in quotes, and true and false in small letters`, key, at(badValue)[1])
	case at(openString) != nil:
		return line, errors.New("the text on this line is not closed; end it with the quote it begins with")
	case at(noPair) != nil:
		return line, errors.New("this line is not of the form Key = value")
	case at(moreBehind) != nil:
		return line, errors.New("there is more on this line than a table's name or Key = value")
	case at(defined) != nil && at(defined)[1] == providerKey:
		return line, errSingleBrackets
	case at(defined) != nil:
		return line, fmt.Errorf("%s is there for the second time; keep one", at(defined)[1])
	case at(notUTF8) != nil:
		return line, errors.New("the file is not in UTF-8; save it as UTF-8")
	case at(badEscape) != nil:
		return line, fmt.Errorf(`a backslash in double quotes has to be doubled; put the text of %s into single quotes`, key)
	case at(outOfRange) != nil:
		return line, fmt.Errorf("%s is %s, which is out of range", key, at(outOfRange)[1])
	}
	if key != "" {
		message = key + ": " + message
	}
	return line, errors.New(message)
}

// lastKey is the key that an error of the decoder is about, empty if it names none.
func lastKey(err error) string {
	if parts := decoderError.FindStringSubmatch(err.Error()); parts != nil {
		return parts[2]
	}
	return ""
}

// inWords is a type of the decoder's as people call it, and how to write one.
func inWords(kind string) (name, example string) {
	switch kind {
	case "string":
		return "text", ", in quotes"
	case "integer", "int", "int64":
		return "a whole number", ""
	case "float", "float64":
		return "a number", ""
	case "bool", "boolean":
		return "true or false", ""
	}
	switch {
	case strings.HasPrefix(kind, "map"):
		return "a table", ""
	case kind == "slice", strings.HasPrefix(kind, "["):
		return "a list", `, such as ["a", "b"]`
	}
	return "of type " + kind, ""
}
