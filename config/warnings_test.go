package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is allowed and probably not meant is said, each in one sentence, and nothing is said of the defaults.
func TestWarnings(t *testing.T) {
	c := Defaults()
	require.Empty(t, c.Warnings())
	fcm := []Provider{{Name: "a", Type: "fcm"}}
	for want, change := range map[string]func(*Config){
		"Mailserver.PasswordFile (--mailserver.password) means nothing without --mailserver or --push (Enabled in [Mailserver] or [Push]); add that, or leave it out": func(c *Config) { c.Mailserver.PasswordFile = "f" },
		"Mailserver.Retention (--mailserver.retention), Mailserver.MaxBytes mean nothing without --mailserver or --push": func(c *Config) {
			c.Mailserver.Retention, c.Mailserver.MaxBytes = Duration(day), 1<<30
		},
		"there are [[Push.Provider]] tables and push is off, so nobody is woken; add --push (Enabled in [Push])": func(c *Config) { c.Push.Provider = fcm },
		"Push.KeyFile, Push.Limits.Channels, Push.Delivery.TTL mean nothing without --push (Enabled in [Push])": func(c *Config) {
			c.Push.KeyFile, c.Push.Limits.Channels, c.Push.Delivery.TTL = "f", 7, Duration(time.Hour)
		},
		"RPC.HTTP.API (--http.api) means nothing without --http (Enabled in [RPC.HTTP]); add that, or leave it out": func(c *Config) { c.RPC.HTTP.API = []string{"shh"} },
		"RPC.HTTP.Addr (--http.addr), RPC.HTTP.Port (--http.port), RPC.HTTP.CORSDomain (--http.corsdomain), RPC.HTTP.VHosts (--http.vhosts) mean nothing without --http": func(c *Config) {
			c.RPC.HTTP.Addr, c.RPC.HTTP.Port, c.RPC.HTTP.CORSDomain, c.RPC.HTTP.VHosts = "::1", 1, []string{"*"}, []string{"*"}
		},
		"RPC.WS.API (--ws.api), RPC.WS.Origins (--ws.origins) mean nothing without --ws": func(c *Config) { c.RPC.WS.API, c.RPC.WS.Origins = []string{"shh"}, []string{"*"} },
		"Metrics.Addr (--metrics.addr), Metrics.Port (--metrics.port) mean nothing without --metrics": func(c *Config) {
			c.Metrics.Addr, c.Metrics.Port = "0.0.0.0", 1
		},
		"RPC.IPCPath (--ipcpath) means nothing with --ipcdisable": func(c *Config) { c.RPC.IPCDisable, c.RPC.IPCPath = true, "x" },
		"Push.Delivery.Jitter and Batch delay wake-ups by up to 40s, and 15s are promised in all; give at most 10s together": func(c *Config) {
			c.Push.Enabled, c.Push.Delivery.Jitter, c.Push.Delivery.Batch = true, Duration(20*time.Second), Duration(20*time.Second)
		},
		"Push.Delivery.Every is 1m, so a message may wait longer than the 15s promised; give at most that": func(c *Config) {
			c.Push.Enabled, c.Push.Delivery.Every = true, Duration(time.Minute)
		},
		`Every of the provider "a" is 16s, so a message may wait`: func(c *Config) {
			c.Push.Enabled, c.Push.Provider = true, []Provider{{Name: "a", Type: "fcm", Every: Duration(16 * time.Second)}}
		},
		"Push.Delivery.LinkDelay is 11s, which leaves the next route too little": func(c *Config) {
			c.Push.Enabled, c.Push.Provider, c.Push.Delivery.LinkDelay = true, []Provider{{Name: "direct", Type: "direct"}}, Duration(11*time.Second)
		},
		"Mailserver.Retention (--mailserver.retention) is 1h and Push.Delivery.TTL 1d, so a device may be woken for mail that is gone": func(c *Config) {
			c.Push.Enabled, c.Mailserver.Retention = true, Duration(time.Hour)
		},
		"Push.SkipChallenge lists a, so anybody can have pushes sent to an address of others": func(c *Config) {
			c.Push.Enabled, c.Push.Provider, c.Push.SkipChallenge = true, fcm, []string{"a"}
		},
		"RPC.HTTP serves shh and admin on 0.0.0.0, where other computers may read the node's keys and command it; set --http.addr 127.0.0.1": func(c *Config) {
			c.RPC.HTTP.Enabled, c.RPC.HTTP.Addr, c.RPC.HTTP.API = true, "0.0.0.0", []string{"shh", "net", "admin"}
		},
		"RPC.WS serves shh on ::, where other computers": func(c *Config) { c.RPC.WS.Enabled, c.RPC.WS.Addr = true, "::" },
		"RPC.HTTP.VHosts (--http.vhosts) is *":           func(c *Config) { c.RPC.HTTP.Enabled, c.RPC.HTTP.VHosts = true, []string{"*"} },
		"RPC.HTTP.CORSDomain (--http.corsdomain) is *":   func(c *Config) { c.RPC.HTTP.Enabled, c.RPC.HTTP.CORSDomain = true, []string{"*"} },
		"RPC.WS.Origins (--ws.origins) is *":             func(c *Config) { c.RPC.WS.Enabled, c.RPC.WS.Origins = true, []string{"*"} },
	} {
		c := Defaults()
		change(&c)
		require.NoError(t, c.Validate())
		require.Len(t, c.Warnings(), 1, want)
		require.Contains(t, c.Warnings()[0], want)
	}

	// The worst: anybody and any page.
	c.RPC.HTTP.Enabled, c.RPC.HTTP.Addr, c.RPC.HTTP.API = true, "0.0.0.0", Namespaces()
	c.RPC.HTTP.CORSDomain, c.RPC.HTTP.VHosts = []string{"*"}, []string{"*"}
	require.Len(t, c.Warnings(), 3)

	// What is as it should be is not spoken of.
	c = Defaults()
	c.Push.Enabled, c.Push.Provider, c.Push.Delivery.LinkDelay = true, fcm, Duration(11*time.Second)
	c.RPC.HTTP.Enabled, c.RPC.HTTP.Addr, c.RPC.HTTP.API = true, "0.0.0.0", []string{"net", "web3"}
	c.RPC.WS.Enabled, c.RPC.WS.Addr = true, "[::1]"
	c.Mailserver.Retention = 0
	require.NoError(t, c.Validate())
	require.Empty(t, c.Warnings())
}

// Every setting of a part that is off is spoken of when it is set, and each flag that a warning names is one.
func TestEverySettingOfAPartThatIsOff(t *testing.T) {
	c := Defaults()
	c.RPC.IPCDisable, c.RPC.IPCPath = true, "x"
	alter(reflect.ValueOf(&c.Mailserver).Elem())
	alter(reflect.ValueOf(&c.Push).Elem())
	alter(reflect.ValueOf(&c.RPC.HTTP).Elem())
	alter(reflect.ValueOf(&c.RPC.WS).Elem())
	alter(reflect.ValueOf(&c.Metrics).Elem())
	said := strings.Join(c.Warnings(), "\n")
	var walk func(path string, s reflect.Type)
	walk = func(path string, s reflect.Type) {
		for field := range fieldsOf(s) {
			name := path + "." + field.Name
			switch {
			case field.Type.Kind() == reflect.Struct:
				walk(name, field.Type)
			case field.Name != "Enabled" && name != providerKey:
				require.Contains(t, said, name)
			}
		}
	}
	walk("Mailserver", reflect.TypeFor[Mailserver]())
	walk("Push", reflect.TypeFor[Push]())
	walk("RPC.HTTP", reflect.TypeFor[HTTP]())
	walk("RPC.WS", reflect.TypeFor[WS]())
	walk("Metrics", reflect.TypeFor[Metrics]())
}

// alter sets every field of a struct to another value, but for switches and providers.
func alter(s reflect.Value) {
	for field := range fieldsOf(s.Type()) {
		switch v := s.FieldByIndex(field.Index); v.Kind() {
		case reflect.Struct:
			alter(v)
		case reflect.Bool:
			v.SetBool(field.Name != "Enabled" && !v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 1)
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.String {
				v.Set(reflect.Append(v, reflect.ValueOf("x")))
			}
		}
	}
}
