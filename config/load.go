package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
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
	if key, other := spelledTwice(meta.Keys()); other != "" {
		return lineOf(text, key), fmt.Errorf("%s and %s are the same; keep one", other, key)
	}
	unknown := meta.Undecoded()
	if len(unknown) == 0 {
		return 0, nil
	}
	return lineOf(text, unknown[0]), unknownKey(unknown[0], keysOf(c))
}

// spelledTwice finds a key that is there before in other capitals: which of both counted would be chance.
func spelledTwice(keys []toml.Key) (second toml.Key, first string) {
	seen := map[string]string{}
	for _, key := range keys {
		full := key.String()
		lower := strings.ToLower(full)
		if strings.HasPrefix(lower, strings.ToLower(providerKey)+".") {
			continue // each table has them, and checks its own
		}
		if before, ok := seen[lower]; ok && before != full {
			return key, before
		}
		seen[lower] = full
	}
	return nil, ""
}

// lineOf finds the line, from 1, on which text sets key or opens its table, 0 if it cannot tell: the decoder says
// which keys it did not use but not where they stand.
func lineOf(text string, key toml.Key) int {
	wanted := key.String()
	table := ""
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table = strings.Trim(strings.SplitN(line, "#", 2)[0], "[] \t")
			if table == wanted || strings.HasPrefix(table, wanted+".") {
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
		if full == wanted {
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
