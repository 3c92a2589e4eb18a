package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Load lays the TOML file at path over c. Every error is one sentence that names the file and, where known, the line.
func Load(path string, c *Config) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--config: there is no file %q", path)
	}
	if err != nil {
		return fmt.Errorf("--config: cannot read %q: %w", path, errors.Unwrap(err))
	}
	line, err := decode(string(text), c)
	switch {
	case err == nil:
		return nil
	case line > 0:
		return fmt.Errorf("%s line %d: %w", path, line, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// decode lays text over c. The line is where the error stands, 0 if that is not known.
func decode(text string, c *Config) (line int, err error) {
	meta, err := toml.Decode(text, c)
	if err != nil {
		return explain(err)
	}
	unknown := meta.Undecoded()
	if len(unknown) == 0 {
		return 0, nil
	}
	key := unknown[0].String()
	if advice, ok := elsewhere[key]; ok {
		return lineOf(text, unknown[0]), fmt.Errorf("there is no setting %q; %s", key, advice)
	}
	return lineOf(text, unknown[0]), fmt.Errorf("there is no setting %q; %s", key, Suggest(key, keysOf(c)))
}

// elsewhere are keys that people look for here, mostly geth's, and what to do with each.
var elsewhere = map[string]string{
	"Node.P2P":       "its keys stand in [Node] here; move them there",
	"Node.HTTPHost":  "here it is Addr in [RPC.HTTP]",
	"Node.HTTPPort":  "here it is Port in [RPC.HTTP]",
	"Node.WSHost":    "here it is Addr in [RPC.WS]",
	"Node.WSPort":    "here it is Port in [RPC.WS]",
	"Node.IPCPath":   "here it is IPCPath in [RPC]",
	"Node.UserIdent": "remove it",
	"Eth":            "there is no blockchain here; remove the table",
	"Whisper":        "here it is [Shh]",
	"Node.KeyHex":    "a key does not belong into this file; name its own in Node.KeyFile",
	"Dashboard":      "there is none here; remove the table",
}

// The two forms of the decoder's errors: where and what, and the what of a value of the wrong type.
var (
	decoderError = regexp.MustCompile(`^toml: (?:line (\d+) ?)?(?:\(last key "(.*?)"\))?(?:: )?(.*)$`)
	typeMismatch = regexp.MustCompile(`^incompatible types: TOML value has type (\S+); destination has type (\S+)`)
)

// explain turns an error of the decoder into the line it names, 0 if none, and a sentence of ours.
func explain(err error) (line int, _ error) {
	parts := decoderError.FindStringSubmatch(err.Error())
	if parts == nil {
		return 0, err
	}
	line, _ = strconv.Atoi(parts[1])
	key, message := parts[2], parts[3]
	if types := typeMismatch.FindStringSubmatch(message); types != nil {
		if key == "Push.Provider" {
			return line, errors.New("[Push.Provider] stands in single brackets; write [[Push.Provider]], once for each provider")
		}
		return line, fmt.Errorf("the value of %s is of type %s; give one of type %s", key, types[1], types[2])
	}
	if strings.Contains(message, `to end table name, but got '\n'`) {
		// The decoder has read on, and names the line and the key that it came to.
		return max(line-1, 1), errors.New("the name of a table is not closed; end it with a bracket, as in [Push]")
	}
	if key != "" {
		message = key + ": " + message
	}
	return line, errors.New(message)
}

// lineOf finds the line, from 1, on which text sets key or opens its table, 0 if it cannot tell: the decoder says
// which keys it did not use but not where they stand.
func lineOf(text string, key toml.Key) int {
	table := ""
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table = strings.Trim(strings.SplitN(line, "#", 2)[0], "[] \t")
			if table == key.String() || strings.HasPrefix(table, key.String()+".") {
				return n
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		full := strings.Trim(strings.TrimSpace(name), `"'`)
		if table != "" {
			full = table + "." + full
		}
		if full == key.String() {
			return n
		}
	}
	return 0
}

// keysOf lists the keys that settings, a pointer to a struct, has: "Node.MaxPeers".
func keysOf(settings any) []string {
	var keys []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for field := range fieldsOf(t) {
			name := prefix + field.Name
			keys = append(keys, name)
			if field.Type.Kind() == reflect.Struct {
				walk(name+".", field.Type)
			}
		}
	}
	walk("", reflect.TypeOf(settings).Elem())
	return keys
}

// fieldsOf yields the fields of struct t that are keys of the file.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			field := t.Field(i)
			if field.IsExported() && field.Tag.Get("toml") != "-" && !yield(field) {
				return
			}
		}
	}
}
