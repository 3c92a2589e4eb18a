package config

import (
	"bytes"
	"fmt"
	"maps"

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
	// Info is what an app needs to get an address, told in announcements.
	Info string
	// Options are the other keys of the table. Decode reads them.
	Options map[string]any
}

// UnmarshalTOML implements toml.Unmarshaler.
func (p *Provider) UnmarshalTOML(table any) error {
	keys, ok := table.(map[string]any)
	if !ok {
		return fmt.Errorf("a provider is a [[Push.Provider]] table, not %T", table)
	}
	keys = maps.Clone(keys)
	for name, into := range map[string]*string{"Name": &p.Name, "Type": &p.Type, "Info": &p.Info} {
		if value, given := keys[name]; given {
			if *into, ok = value.(string); !ok {
				return fmt.Errorf("%s of a [[Push.Provider]] is a string, not %v", name, value)
			}
			delete(keys, name)
		}
	}
	if value, given := keys["Burst"]; given {
		burst, ok := value.(int64)
		if !ok {
			return fmt.Errorf("Burst of a [[Push.Provider]] is a whole number, not %v", value)
		}
		p.Burst = int(burst)
		delete(keys, "Burst")
	}
	if value, given := keys["Every"]; given {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("Every of a [[Push.Provider]] is a duration such as \"10s\", not %v", value)
		}
		if err := p.Every.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("Every of a [[Push.Provider]]: %w", err)
		}
		delete(keys, "Every")
	}
	if p.Name == "" {
		p.Name = p.Type
	}
	p.Options = keys
	return nil
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
		return fmt.Errorf("provider %q of type %q has no key %q; %s", p.Name, p.Type, key, Suggest(key, keysOf(options)))
	}
	return nil
}
