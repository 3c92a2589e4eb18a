package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const (
	// maxFile is the largest settings file that is read, in bytes.
	maxFile = 1 << 20
	// maxFaults is how many faults of a file are told: more is not a settings file.
	maxFaults = 100
)

// File is a settings file that was read.
type File struct {
	path     string
	text     string
	settings Config // as they were with the file and nothing else laid over them
}

// Load lays the TOML file at path over c. Every error is one sentence that names the file and, where known, the line.
func Load(path string, c *Config) error {
	if _, faults := Read(path, c); len(faults) > 0 {
		return faults[0]
	}
	return nil
}

// Read is Load that goes on after a fault: all that can be read counts, and every fault of the file is told, in the
// order in which they stand there. The file is nil if it cannot be read at all.
func Read(path string, c *Config) (*File, []Fault) {
	text, err := readFile(path)
	if err != nil {
		return nil, []Fault{{Err: err}}
	}
	file := &File{path: path, text: text}
	table, faults := parse(text)
	providers, more := takeProviders(table, file)
	faults = append(faults, more...)
	meta, wrong := decodeTable(table, c, func(key string, err error) Fault {
		return Fault{Key: key, Line: file.lineOf(key), Err: err}
	})
	faults = append(faults, wrong...)
	if providers != nil {
		c.Push.Provider = providers
	}
	faults = append(faults, file.unknown(meta)...)
	for i := range faults {
		faults[i].Path = path
	}
	byLine(faults)
	file.settings = *c
	return file, faults[:min(len(faults), maxFaults)]
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("--config: there is no file %q", path)
	}
	if err != nil {
		return "", fmt.Errorf("--config: cannot read %q: %w", path, errors.Unwrap(err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("--config: cannot read %q: %w", path, errors.Unwrap(err))
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("--config: %q has more than %d bytes, so it holds no settings", path, maxFile)
	}
	return string(text), nil
}

// parse reads what is TOML in text. After a fault it goes on without the line, or, where that names a table, without
// the table. The faults have no path.
func parse(text string) (map[string]any, []Fault) {
	lines := slices.Collect(strings.Lines(text))
	var faults []Fault
	last := 0
	for len(faults) < maxFaults {
		table := map[string]any{}
		meta, err := toml.Decode(strings.Join(lines, ""), &table)
		if err == nil {
			return table, append(faults, spelledTwice(text, meta.Keys())...)
		}
		n, err := explain(err)
		if n <= 0 || n > len(lines) {
			return map[string]any{}, append(faults, Fault{Line: n, Err: err})
		}
		switch open := openBefore(lines, n); {
		case open > 0: // it is told once, and all it may have swallowed is left out
			faults = append(faults, Fault{Line: n, Key: keyAt(lines, open), Err: err})
			for i := open - 1; i < n; i++ {
				lines[i] = "\n"
			}
		case n == last:
			return map[string]any{}, faults
		default:
			faults = append(faults, Fault{Line: n, Key: keyAt(lines, n), Err: err})
			blank(lines, n-1)
		}
		last = n
	}
	return map[string]any{}, faults
}

// openBefore is the line, from 1, before line n of lines on which a list begins that does not end before n; 0 if there
// is none.
func openBefore(lines []string, n int) int {
	for i := n - 1; i > 0; i-- {
		line, _, _ := strings.Cut(lines[i-1], "#")
		_, header := tableOf(line)
		_, value, sets := strings.Cut(line, "=")
		switch {
		case sets && strings.HasPrefix(strings.TrimSpace(value), "["):
			if strings.Contains(value, "]") {
				return 0
			}
			return i
		case sets, header, strings.Contains(line, "]"):
			return 0
		}
	}
	return 0
}

// keyAt is the key that is set on line n, from 1, of lines, empty if there is none.
func keyAt(lines []string, n int) string {
	if n <= 0 || n > len(lines) {
		return ""
	}
	name, _, ok := strings.Cut(lines[n-1], "=")
	name = strings.TrimSpace(name)
	if !ok || strings.HasPrefix(name, "[") || strings.HasPrefix(name, "#") {
		return ""
	}
	for _, line := range slices.Backward(lines[:n-1]) {
		if header, ok := tableOf(line); ok {
			return header + "." + name
		}
	}
	return name
}

// blank takes out line i, and if that names a table all of it.
func blank(lines []string, i int) {
	_, isTable := tableOf(lines[i])
	for {
		lines[i] = "\n"
		if i++; !isTable || i == len(lines) {
			return
		}
		if _, next := tableOf(lines[i]); next {
			return
		}
	}
}

// tableOf is the name in a line that begins a table.
func tableOf(line string) (name string, ok bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "[") {
		return "", false
	}
	return strings.Trim(strings.SplitN(line, "#", 2)[0], "[] \t"), true
}

// spelledTwice finds keys that are there before in other capitals: which of both counted would be chance.
func spelledTwice(text string, keys []toml.Key) (faults []Fault) {
	seen := map[string]string{}
	for _, key := range keys {
		full := key.String()
		lower := strings.ToLower(full)
		if strings.HasPrefix(lower, strings.ToLower(providerKey)+".") {
			continue // each table has them, and checks its own
		}
		if before, ok := seen[lower]; ok && before != full {
			faults = append(faults, Fault{Key: full, Line: lineOf(text, full), Err: fmt.Errorf("%s and %s are the same; keep one", before, key)})
			continue
		}
		seen[lower] = full
	}
	return faults
}

// member is the key of table that is name in whatever capitals.
func member(table map[string]any, name string) (key string, ok bool) {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if strings.EqualFold(key, name) {
			return key, true
		}
	}
	return "", false
}

// takeProviders takes the tables of the providers out of the file's. It returns nil if there are none.
func takeProviders(table map[string]any, file *File) (providers []Provider, faults []Fault) {
	pushKey, _ := member(table, "Push")
	push, ok := table[pushKey].(map[string]any)
	if !ok {
		return nil, nil
	}
	key, ok := member(push, "Provider")
	if !ok {
		return nil, nil
	}
	value := push[key]
	delete(push, key)
	var tables []any
	switch list := value.(type) {
	case []map[string]any:
		for _, one := range list {
			tables = append(tables, one)
		}
	case []any:
		tables = list
	default:
		return nil, []Fault{{Key: providerKey, Line: file.lineOf(providerKey), Err: errSingleBrackets}}
	}
	providers = []Provider{}
	for i, one := range tables {
		var p Provider
		for _, fault := range p.parse(one) {
			fault.Key = strings.TrimSuffix(ProviderTable(i)+fault.Key, ".")
			fault.Line = file.lineOf(fault.Key)
			faults = append(faults, fault)
		}
		providers = append(providers, p)
	}
	return providers, faults
}

// decodeTable fills the struct that into points to from table. A key whose value does not fit is told by fault and
// left out, as is all that stands behind one of which that cannot be told.
func decodeTable(table map[string]any, into any, fault func(key string, err error) Fault) (toml.MetaData, []Fault) {
	var faults []Fault
	for len(faults) < maxFaults {
		var text strings.Builder
		if err := toml.NewEncoder(&text).Encode(table); err != nil {
			return toml.MetaData{}, append(faults, fault("", err))
		}
		meta, err := toml.Decode(text.String(), into)
		if err == nil {
			return meta, faults
		}
		_, told := explain(err)
		key := lastKey(err)
		faults = append(faults, fault(key, told))
		if !remove(table, strings.Split(key, ".")) {
			return toml.MetaData{}, faults
		}
	}
	return toml.MetaData{}, faults
}

// remove takes a key out of a table, and reports whether it was there.
func remove(table map[string]any, path []string) bool {
	value, ok := table[path[0]]
	if !ok {
		return false
	}
	if len(path) == 1 {
		delete(table, path[0])
		return true
	}
	inner, ok := value.(map[string]any)
	return ok && remove(inner, path[1:])
}

// unknown are the keys that no setting has; of a table that there is not, the table alone.
func (f *File) unknown(meta toml.MetaData) (faults []Fault) {
	tables := map[string]bool{}
	for _, key := range meta.Undecoded() {
		told := false
		for n := 1; n < len(key); n++ {
			told = told || tables[key[:n].String()]
		}
		if tables[key.String()] = true; !told {
			faults = append(faults, Fault{Key: key.String(), Line: f.lineOf(key.String()), Err: unknownKey(key, keysOf(new(Config)))})
		}
	}
	return faults
}

// Place puts faults of c's settings where the file sets these, unless a flag has changed the setting since, and sorts
// them by that. A file that is nil sets nothing.
func (f *File) Place(faults []Fault, c *Config) {
	for i := range faults {
		fault := &faults[i]
		if f == nil || fault.Key == "" || fault.Path != "" || setting(c, fault.Key) != setting(&f.settings, fault.Key) {
			continue
		}
		if line := f.lineOf(fault.Key); line > 0 {
			fault.Path, fault.Line = f.path, line
		}
	}
	byLine(faults)
}

// setting is the value of a key as text; every provider's is the same.
func setting(c *Config, key string) string {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(key, ".") {
		if v.Kind() != reflect.Struct || !v.FieldByName(name).IsValid() {
			break
		}
		v = v.FieldByName(name)
	}
	if v.Kind() == reflect.Struct || v.Type() == reflect.TypeFor[[]Provider]() {
		return "" // the command line has no flag for it
	}
	return fmt.Sprint(v.Interface())
}

// lineOf finds the line, from 1, on which the file sets key or opens its table, 0 if it cannot tell: the decoder says
// which keys it did not use but not where they stand.
func (f *File) lineOf(key string) int {
	rest, ok := strings.CutPrefix(key, providerKey+"[")
	if !ok {
		return lineOf(f.text, key)
	}
	var number int
	fmt.Sscanf(rest, "%d", &number)
	_, name, _ := strings.Cut(rest, "].")
	return f.providerLine(number, name)
}

// providerLine finds the line on which the provider's table number i, from 0, sets the key name, and if it does not
// that of the table.
func (f *File) providerLine(i int, name string) int {
	header, n, seen := 0, 0, -1
	for line := range strings.Lines(f.text) {
		n++
		if table, ok := tableOf(line); ok {
			if strings.EqualFold(table, providerKey) {
				if seen++; seen == i {
					header = n
				}
			}
			if own, ok := cutPrefixFold(table, providerKey+"."); ok && seen == i && strings.EqualFold(own, name) {
				return n
			}
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if ok && seen == i && strings.EqualFold(strings.Trim(strings.TrimSpace(key), `"'`), name) {
			return n
		}
		if seen > i {
			break
		}
	}
	return cmp.Or(header, lineOf(f.text, providerKey))
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// lineOf finds the line of text, from 1, that sets key or opens its table: as it is written, else in other capitals.
func lineOf(text, key string) int {
	other, n, table := 0, 0, ""
	for line := range strings.Lines(text) {
		n++
		if name, ok := tableOf(line); ok {
			table = name
			_, below := cutPrefixFold(table, key+".")
			switch {
			case table == key || strings.HasPrefix(table, key+"."):
				return n
			case other == 0 && (below || strings.EqualFold(table, key)):
				other = n
			}
			continue
		}
		name, _, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		full := strings.Trim(strings.TrimSpace(name), `"'`)
		if table != "" {
			full = table + "." + full
		}
		if full == key {
			return n
		}
		_, below := cutPrefixFold(full, key+".") // a dotted key
		if other == 0 && (below || strings.EqualFold(full, key)) {
			other = n
		}
	}
	return other
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
