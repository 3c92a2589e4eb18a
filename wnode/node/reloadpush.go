package node

import (
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
)

// instance is a provider with what it was made from.
type instance struct {
	pushext.Provider
	table config.Provider
	files [sha256.Size]byte // checksum of all files that the table names
}

// filesSum is the checksum of the files that a provider's table names. A file that cannot be read counts as empty;
// opening the provider reports it.
func filesSum(p config.Provider) [sha256.Size]byte {
	h := sha256.New()
	for _, file := range p.Files() {
		text, _ := os.ReadFile(file.Path)
		fmt.Fprintf(h, "%s %d ", file.Key, len(text))
		h.Write(text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// newInstances joins tables with the providers made from them, one each.
func newInstances(tables []config.Provider, providers []pushext.Provider) []instance {
	var all []instance
	for i, p := range providers {
		all = append(all, instance{p, tables[i], filesSum(tables[i])})
	}
	return all
}

// asMade reports whether an instance made from another table would be the same.
func (i instance) asMade(table config.Provider) bool {
	return i.table.Type == table.Type && (len(i.table.Options) == 0 && len(table.Options) == 0 || reflect.DeepEqual(i.table.Options, table.Options)) && i.files == filesSum(table)
}

// resettable is a push server that takes new settings. The caller calls either apply or drop, once.
type resettable interface {
	prepare(s pushserver.Settings) (apply, drop func(), err error)
}

// ownPush is a push server with a database of its own.
type ownPush struct{ *pushserver.Server }

func (p ownPush) prepare(s pushserver.Settings) (apply, drop func(), err error) {
	apply, err = p.Prepare(s)
	return apply, func() {}, err
}

func (s *sharedPush) prepare(next pushserver.Settings) (apply, drop func(), err error) {
	return s.Prepare(next)
}

// pushSection has the limits on registrations, the delivery, and the providers.
func (n *Node) pushSection(server resettable) section {
	return section{
		keys: []string{"Push.KeyOverlap", "Push.Limits.", "Push.Delivery.", "Push.Provider"},
		prepare: func(_, next config.Config) (replacement, error) {
			all, fresh, err := n.remake(next.Push.Provider)
			if err != nil {
				return replacement{}, err
			}
			apply, undo, err := server.prepare(pushserver.Settings{
				Limits: pushLimits(next.Push.Limits), Delivery: pushDelivery(next.Push), Providers: asProviders(all),
			})
			if err != nil {
				CloseProviders(asProviders(fresh))
				return replacement{}, err
			}
			drop := func() {
				undo()
				CloseProviders(asProviders(fresh))
			}
			r := replacement{drop: drop, apply: func() {
				apply()
				gone := slices.DeleteFunc(slices.Clone(n.instances), func(i instance) bool {
					return slices.ContainsFunc(all, func(now instance) bool { return now.Provider == i.Provider })
				})
				n.instances = all
				CloseProviders(asProviders(gone)) // closes idle connections; those in use end by themselves
				offers := offersOf(all)
				n.offers.Store(&offers)
				n.paused.holdAgain(n.push, all)
			}}
			r.also = n.whatOpened(all, fresh)
			return r, nil
		},
	}
}

// whatOpened says which providers were added, removed, or opened again.
func (n *Node) whatOpened(all, fresh []instance) string {
	var came, anew, went []string
	among := func(some []instance, name string) bool {
		return slices.ContainsFunc(some, func(i instance) bool { return i.Name() == name })
	}
	for _, p := range fresh {
		if among(n.instances, p.Name()) {
			anew = append(anew, p.Name())
		} else {
			came = append(came, p.Name())
		}
	}
	for _, p := range n.instances {
		if !among(all, p.Name()) {
			went = append(went, p.Name())
		}
	}
	var told []string
	for _, some := range []struct {
		what  string
		names []string
	}{{"added", came}, {"removed", went}, {"opened anew", anew}} {
		if slices.Sort(some.names); len(some.names) > 0 {
			told = append(told, "providers "+some.what+": "+strings.Join(some.names, ", "))
		}
	}
	return strings.Join(told, "; ")
}

// remake makes the instances of the settings. Those that would be the same stay; the others are fresh. An instance that
// is not in all has been removed.
func (n *Node) remake(tables []config.Provider) (all, fresh []instance, err error) {
	defer func() {
		if err != nil {
			CloseProviders(asProviders(fresh))
		}
	}()
	before := make(map[string]instance, len(n.instances))
	for _, i := range n.instances {
		before[i.Name()] = i
	}
	for _, table := range tables {
		was, ok := before[table.Name]
		switch {
		case !ok:
			made, err := OpenProviders([]config.Provider{table})
			if err != nil {
				return nil, fresh, err
			}
			now := newInstances([]config.Provider{table}, made)[0]
			all, fresh = append(all, now), append(fresh, now)
			continue
		case was.table.Type != table.Type:
			return nil, fresh, fmt.Errorf("the provider %q is of type %q and was of %q, which takes effect with a restart alone; restart the node, or give it another name", table.Name, table.Type, was.table.Type)
		case was.asMade(table):
			was.table = table // its Burst, Every, Rate and Info may differ
			all = append(all, was)
			continue
		}
		if _, linked := was.Provider.(pushext.Linked); linked {
			return nil, fresh, fmt.Errorf("the provider %q holds the links of devices and changes with a restart alone; restart the node, or put its former settings back", table.Name)
		}
		made, err := OpenProviders([]config.Provider{table})
		if err != nil {
			return nil, fresh, err
		}
		now := newInstances([]config.Provider{table}, made)[0]
		all, fresh = append(all, now), append(fresh, now)
		if a, b := VAPIDKeys(asProviders([]instance{was})), VAPIDKeys(made); !reflect.DeepEqual(a, b) {
			return nil, fresh, fmt.Errorf("the provider %q has another VAPID key, to which no device is subscribed; put the former one back, or restart the node to begin with the new one", table.Name)
		}
	}
	return all, fresh, nil
}

func asProviders(all []instance) []pushext.Provider {
	var providers []pushext.Provider
	for _, i := range all {
		providers = append(providers, i.Provider)
	}
	return providers
}

// offersOf is what apps are told about the providers.
func offersOf(all []instance) []pushwire.ProviderOffer {
	var tables []config.Provider
	for _, i := range all {
		tables = append(tables, i.table)
	}
	return describeProviders(tables, asProviders(all))
}
