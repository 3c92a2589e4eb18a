package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Provider is one [[Push.Provider]] table: one instance of a push provider.
type Provider struct {
	// Name is what registrations call the instance. Empty: its Type.
	Name string
	// Type picks the implementation.
	Type string
	// Burst and Every replace those of Push.Delivery for the instance's devices. 0: they do not.
	Burst int
	Every Duration
	// Rate is how many attempts a second each of its lanes makes at most. 0: what the service documents; NoRate: any.
	Rate float64
	// Info is what an app needs to get an address, told in announcements.
	Info string
	// Options are the other keys of the table. Decode reads them.
	Options map[string]any
}

// providerKey is the name of the tables.
const providerKey = "Push.Provider"

// commonKeys are those that every provider's table may have.
var commonKeys = []string{"Name", "Type", "Info", "Burst", "Every", "Rate"}

// NoRate is the Rate of a provider without a bound.
const NoRate = -1

// ProviderTable is how keys of the provider's table number i, from 0, begin in a Fault, as in "Push.Provider[0].Rate".
func ProviderTable(i int) string { return fmt.Sprintf("%s[%d].", providerKey, i) }

// parse fills p from its table. Each fault has the key within the table, or none if it is of the table.
func (p *Provider) parse(table any) (faults []Fault) {
	keys, ok := table.(map[string]any)
	if !ok {
		return []Fault{{Err: fmt.Errorf("a provider is a [[Push.Provider]] table, not %T", table)}}
	}
	wrong := func(key string, err error) {
		if err != nil {
			faults = append(faults, Fault{Key: key, Err: err})
		}
	}
	keys = maps.Clone(keys)
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if other, twice := seen[strings.ToLower(key)]; twice {
			wrong(key, fmt.Errorf("a [[Push.Provider]] has both %s and %s, which are the same; keep one", other, key))
		}
		seen[strings.ToLower(key)] = key
	}
	fold(keys, commonKeys...)
	for _, text := range []struct {
		key  string
		into *string
	}{{"Name", &p.Name}, {"Type", &p.Type}, {"Info", &p.Info}} {
		_, err := take(keys, text.key, "a string", text.into)
		wrong(text.key, err)
	}
	var burst int64
	given, err := take(keys, "Burst", "a whole number", &burst)
	wrong("Burst", err)
	if given {
		p.Burst = int(burst)
	}
	const everyKey = "Every"
	var every string
	given, err = take(keys, everyKey, `a duration such as "10s"`, &every)
	wrong(everyKey, err)
	if given && err == nil {
		if err := p.Every.UnmarshalText([]byte(every)); err != nil {
			wrong(everyKey, fmt.Errorf("%s of a [[Push.Provider]]: %w", everyKey, err))
		}
	}
	wrong("Rate", p.takeRate(keys))
	if p.Name == "" {
		p.Name = p.Type
	}
	p.Options = keys
	return faults
}

// OptionFile is one of a provider's own keys that names a file.
type OptionFile struct {
	Key, Path string
}

// Public reports whether the file holds nothing secret, such as certificates.
func (f OptionFile) Public() bool { return strings.EqualFold(f.Key, "CAFile") }

// Files lists the provider's own keys that name files, by key.
func (p Provider) Files() []OptionFile {
	var files []OptionFile
	for _, key := range slices.Sorted(maps.Keys(p.Options)) {
		path, ok := p.Options[key].(string)
		if ok && path != "" && strings.HasSuffix(strings.ToLower(key), "file") {
			files = append(files, OptionFile{key, path})
		}
	}
	return files
}

// Option is the value of one of the provider's own keys, in whatever case it is written; nil if it is not there.
func (p Provider) Option(name string) any {
	for key, value := range p.Options {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

// WithOption is the provider with one of its own keys set otherwise.
func (p Provider) WithOption(name string, value any) Provider {
	p.Options = maps.Clone(p.Options)
	maps.DeleteFunc(p.Options, func(key string, _ any) bool { return strings.EqualFold(key, name) })
	if p.Options == nil {
		p.Options = make(map[string]any)
	}
	p.Options[name] = value
	return p
}

// fold renames keys that differ from a name by nothing but capitals, as in the
// rest of the file they make no difference.
func fold(keys map[string]any, names ...string) {
	for _, name := range names {
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if key == name || !strings.EqualFold(key, name) {
				continue
			}
			keys[name] = keys[key]
			delete(keys, key)
		}
	}
}

// takeRate takes the rate, which may be a whole number. What is written is a rate:
// 0 would stop all wake-ups, and is no word for the default.
func (p *Provider) takeRate(keys map[string]any) error {
	const rateKey = "Rate"
	if whole, ok := keys[rateKey].(int64); ok {
		keys[rateKey] = float64(whole)
	}
	given, err := take(keys, rateKey, "a number", &p.Rate)
	if err == nil && given && p.Rate == 0 {
		return fmt.Errorf("%s of a [[Push.Provider]] is 0, which would send nothing; leave it out for what the service documents, or give %d for no bound", rateKey, NoRate)
	}
	return err
}

// take moves the value of a key out of keys and tells whether it was there. kind
// is what the value has to be, in words.
func take[T any](keys map[string]any, key, kind string, into *T) (given bool, err error) {
	value, given := keys[key]
	if !given {
		return false, nil
	}
	delete(keys, key)
	var ok bool
	if *into, ok = value.(T); !ok {
		return true, fmt.Errorf("%s of a [[Push.Provider]] is %s, not %v", key, kind, value)
	}
	return true, nil
}

// OptionFaults are all that is wrong with a provider's own keys, at least one. As an error they are the first.
type OptionFaults []Fault

// Error implements error.
func (f OptionFaults) Error() string { return f[0].Err.Error() }

// Unwrap makes the first fault found.
func (f OptionFaults) Unwrap() error { return f[0].Err }

// Decode fills the struct that options points to from the provider's own keys; a key it has no field for is an
// error that names the nearest it has. The error is OptionFaults.
func (p Provider) Decode(options any) error {
	meta, faults := decodeTable(maps.Clone(p.Options), options, func(key string, err error) Fault {
		return Fault{Key: key, Err: fmt.Errorf("provider %q: %w", p.Name, err)}
	})
	known := slices.Concat(keysOf(options), commonKeys)
	for _, unknown := range meta.Undecoded() { // the encoder writes keys in order, so always the same
		if len(unknown) == 1 { // what is in an unknown table is not told beside it
			key := unknown.String()
			faults = append(faults, Fault{Key: key, Err: fmt.Errorf("provider %q of type %q has no key %q; %s", p.Name, p.Type, key, suggestKey(key, known, "docs/providers.md lists its keys"))})
		}
	}
	if len(faults) > 0 {
		return OptionFaults(faults)
	}
	return nil
}
