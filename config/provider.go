package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
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

// UnmarshalTOML implements toml.Unmarshaler.
func (p *Provider) UnmarshalTOML(table any) error {
	keys, ok := table.(map[string]any)
	if !ok {
		return fmt.Errorf("a provider is a [[Push.Provider]] table, not %T", table)
	}
	keys = maps.Clone(keys)
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if other, twice := seen[strings.ToLower(key)]; twice {
			return fmt.Errorf("a [[Push.Provider]] has both %s and %s, which are the same; keep one", other, key)
		}
		seen[strings.ToLower(key)] = key
	}
	fold(keys, commonKeys...)
	for _, text := range []struct {
		key  string
		into *string
	}{{"Name", &p.Name}, {"Type", &p.Type}, {"Info", &p.Info}} {
		if _, err := take(keys, text.key, "a string", text.into); err != nil {
			return err
		}
	}
	var burst int64
	if given, err := take(keys, "Burst", "a whole number", &burst); err != nil {
		return err
	} else if given {
		p.Burst = int(burst)
	}
	const everyKey = "Every"
	var every string
	if given, err := take(keys, everyKey, `a duration such as "10s"`, &every); err != nil {
		return err
	} else if given {
		if err := p.Every.UnmarshalText([]byte(every)); err != nil {
			return fmt.Errorf("%s of a [[Push.Provider]]: %w", everyKey, err)
		}
	}
	if err := p.takeRate(keys); err != nil {
		return err
	}
	if p.Name == "" {
		p.Name = p.Type
	}
	p.Options = keys
	return nil
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
	var ok bool
	if *into, ok = value.(T); !ok {
		return true, fmt.Errorf("%s of a [[Push.Provider]] is %s, not %v", key, kind, value)
	}
	delete(keys, key)
	return true, nil
}

// Decode fills the struct that options points to from the provider's own keys; a key it has no field for is an
// error that names the nearest it has.
func (p Provider) Decode(options any) error {
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(p.Options); err != nil {
		return fmt.Errorf("provider %q: %w", p.Name, err)
	}
	meta, err := toml.Decode(text.String(), options)
	if err != nil {
		_, err = explain(err)
		return fmt.Errorf("provider %q: %w", p.Name, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0].String() // the encoder writes keys in order, so always the same
		known := slices.Concat(keysOf(options), commonKeys)
		return fmt.Errorf("provider %q of type %q has no key %q; %s", p.Name, p.Type, key, suggestKey(key, known, "docs/providers.md lists its keys"))
	}
	return nil
}
