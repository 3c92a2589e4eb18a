package main

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/fcm"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// registering is how many registration requests are under way at once: fewer than the
// extension queues.
const registering = 256

// registrar fills push databases as devices would: by signed and sealed requests to the
// extension. Only the limits meant for strangers are lifted.
type registrar struct {
	dir     string // data directory of the node that will serve
	fcm     *emulate.FCM
	seal    []byte // public key to which the devices' wake-ups are sealed
	private []byte
	pushKey *ecdsa.PrivateKey
	diskKey []byte
}

// newRegistrar writes the keys and the settings of a node into dir.
func newRegistrar(dir string, service *emulate.FCM) (r *registrar, err error) {
	r = &registrar{dir: dir, fcm: service, diskKey: crypto.Keccak256([]byte("disk key of a benchmark"))}
	if r.private, r.seal, err = pushwire.NewSealKey(); err != nil {
		return nil, err
	}
	if r.pushKey, err = crypto.GenerateKey(); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("[[Push.Provider]]\nType = \"fcm\"\nEndpoint = %q\nCredentialsFile = %q\n", service.Endpoint(), r.path("fcm.json"))
	nodeKey, err := crypto.GenerateKey() // with registrations, the node does not start without one
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"nodekey":       hex.EncodeToString(crypto.FromECDSA(nodeKey)),
		"pushkey":       hex.EncodeToString(crypto.FromECDSA(r.pushKey)),
		"push.disk.key": hex.EncodeToString(r.diskKey),
		"fcm.json":      string(service.CredentialsJSON()),
		"node.toml":     settings,
	} {
		if err := os.WriteFile(r.path(name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *registrar) path(name string) string { return filepath.Join(r.dir, name) }

// open opens the push server over the database in the data directory, with a
// log that ends at last.
func (r *registrar) open(last uint64, registry prometheus.Registerer, replies pushserver.Sender) (*pushserver.Server, error) {
	provider, err := fcm.New(fcm.Config{Endpoint: r.fcm.Endpoint(), CredentialsJSON: r.fcm.CredentialsJSON()})
	if err != nil {
		return nil, err
	}
	return pushserver.New(pushserver.Config{
		Dir: r.path("push"), PushKey: r.pushKey, DiskKey: r.diskKey,
		Log: quietLog(last), Envelopes: noEnvelopes{}, Sender: replies,
		Providers: []pushext.Provider{provider}, SkipChallenge: []string{provider.Name()},
		Limits:     pushserver.Limits{PoW: -1, PeerRate: 1e9, PeerBurst: 1 << 30, PerSource: 1 << 30},
		Registerer: registry,
	})
}

// fill registers devices with the given number of channels each; token returns their
// addresses. Device i listens to the topics i·channels and following. The log ends at
// sequence last: earlier envelopes are not pushed.
func (r *registrar) fill(ctx context.Context, devices, channels int, last uint64, token func(i int) string) error {
	registry := prometheus.NewRegistry()
	replies := make(replies, registering)
	x, err := r.open(last, registry, replies)
	if err != nil {
		return err
	}
	defer x.Stop(context.WithoutCancel(ctx))
	if err := x.Start(ctx); err != nil {
		return err
	}
	var (
		senders sync.WaitGroup
		next    = make(chan int)
		slots   = make(chan struct{}, registering)
		failure = make(chan error, 2)
	)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range cap(failure) {
		senders.Go(func() {
			for i := range next {
				payload, err := r.request(ctx, i, channels, token(i))
				if err != nil {
					cancel(err)
					return
				}
				var peer enode.ID
				binary.BigEndian.PutUint64(peer[:], uint64(i))
				x.HandleRequest(peer, payload)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range devices {
			select {
			case <-replies:
				<-slots
			case <-ctx.Done():
				return
			}
		}
	}()
	func() {
		defer close(next)
		for i := range devices {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	senders.Wait()
	<-done
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	held, err := gauge(registry, "whisperpush_pushext_channels")
	if err != nil {
		return err
	}
	if int(held) != devices*channels {
		return fmt.Errorf("%d devices with %d channels registered; the extension holds %.0f channels", devices, channels, held)
	}
	return nil
}

// request is the packet 126 that registers device i.
func (r *registrar) request(ctx context.Context, i, channels int, token string) ([]byte, error) {
	body := &pushwire.Register{
		Version: 1, SealKey: r.seal,
		Routes:   []pushwire.Route{{Provider: "fcm", Address: []byte(token)}},
		Channels: make([]pushwire.Channel, channels),
	}
	start, err := pushwire.ChainStart(r.private, body.Version)
	if err != nil {
		return nil, err
	}
	body.Chain = start[:]
	for c := range body.Channels {
		body.Channels[c].Topic = channelTopic(i*channels + c)
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	e, err := pushwire.SealRequest(ctx, pushwire.NewRequest(body, time.Now()), key, &r.pushKey.PublicKey, 0)
	if err != nil {
		return nil, err
	}
	return e.Raw(), nil
}

// channelTopic is the topic of channel n. All topics differ.
func channelTopic(n int) whisper.Topic {
	return whisper.Topic(binary.BigEndian.AppendUint32(nil, uint32(n)*2654435761))
}

// deviceToken is an address of the usual length, unknown to every service.
func deviceToken(i int) string {
	seed := crypto.Keccak256([]byte(strconv.Itoa(i)))
	return hex.EncodeToString(seed[:11]) + ":APA91b" + hex.EncodeToString(crypto.Keccak256(seed)) + hex.EncodeToString(seed) + "AAAAAA"
}

// gauge reads the gauge with a name.
func gauge(g prometheus.Gatherer, name string) (float64, error) {
	families, err := g.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue(), nil
		}
	}
	return 0, errors.New("no metric " + name)
}

// quietLog is an archive that receives nothing; its value is the newest sequence.
type quietLog uint64

func (l quietLog) First() uint64 { return 1 }
func (l quietLog) Last() uint64  { return uint64(l) }

func (quietLog) Lost(uint64, uint64) (uint64, bool) { return 0, true }

func (l quietLog) Follow(ctx context.Context, _ uint64, _ func([]pushext.Entry) error) error {
	<-ctx.Done()
	return ctx.Err()
}

type noEnvelopes struct{}

func (noEnvelopes) ByHash(_ context.Context, hashes []common.Hash) ([]*whisper.Envelope, []common.Hash, error) {
	return nil, hashes, nil
}

// Connected implements pushserver.Sender.
func (replies) Connected(enode.ID) bool { return true }

// Source implements pushserver.Sender.
func (replies) Source(peer enode.ID) whisper.Source { return whisper.Source(peer[:]) }

// Useful implements pushserver.Sender.
func (replies) Useful(enode.ID) {}

// Proved implements pushserver.Sender.
func (replies) Proved(enode.ID) {}

// Answered implements pushserver.Sender.
func (replies) Answered(enode.ID) {}

// replies counts the answers of the extension.
type replies chan struct{}

func (r replies) SendDirect(ctx context.Context, _ enode.ID, _ ...*whisper.Envelope) error {
	select {
	case r <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
