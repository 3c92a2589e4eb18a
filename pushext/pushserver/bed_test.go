package pushserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/gather"
	"whisperpush/testutil/logtext"
	"whisperpush/testutil/memlog"
	"whisperpush/whisper"
)

func TestMain(m *testing.M) {
	// goleveldb returns its buffers for a second after it is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// postbox is a provider that keeps what it is given.
type postbox struct {
	name string

	mu   sync.Mutex
	got  []pushext.Notification
	dead map[string]bool // tokens to call dead
}

func (p *postbox) Name() string { return p.name }

func (p *postbox) Check(a pushext.Address) error {
	if a.Token == "bad" {
		return errors.New("this is no token")
	}
	return nil
}

func (p *postbox) Push(_ context.Context, n pushext.Notification) pushext.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.Body = bytes.Clone(n.Body)
	p.got = append(p.got, n)
	if p.dead[n.Address.Token] {
		return pushext.Verdict{Class: pushext.TokenDead, Reason: "post 404 gone"}
	}
	return pushext.Verdict{Class: pushext.Delivered}
}

// take returns what came for a token since the last time.
func (p *postbox) take(token string) []pushext.Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	var of []pushext.Notification
	p.got = slices.DeleteFunc(p.got, func(n pushext.Notification) bool {
		if n.Address.Token == token {
			of = append(of, n)
			return true
		}
		return false
	})
	return of
}

// archive is log and envelopes in memory.
type archive struct {
	*memlog.Log
	id []byte // of the log

	mu   sync.Mutex // guards envs
	envs map[common.Hash]*whisper.Envelope
}

func (a *archive) LogID() []byte { return a.id }

func (a *archive) ByHash(_ context.Context, hashes []common.Hash) (found []*whisper.Envelope, missing []common.Hash, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range hashes {
		if env := a.envs[h]; env != nil {
			found = append(found, env)
		} else {
			missing = append(missing, h)
		}
	}
	return found, missing, nil
}

// take archives an envelope.
func (a *archive) take(env *whisper.Envelope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.envs[env.Hash()] = env
	a.Add(env)
}

// bed is a push server in a test, between a postbox, an archive and phones.
type bed struct {
	t       testing.TB
	ext     *Server
	cfg     Config
	disk    *faultstore.Store
	post    *postbox
	archive *archive
	out     *logtext.Buffer

	mu        sync.Mutex
	sent      map[enode.ID][]*whisper.Envelope
	unplugged map[enode.ID]bool
	answered  map[enode.ID]int // of Answered
	networks  map[enode.ID]whisper.Source
	slow      map[enode.ID]time.Duration // peers that take so long for each envelope
	used      map[enode.ID]int           // how often of Useful
	knows     map[enode.ID]int           // how often of Proved
}

func (b *bed) SendDirect(ctx context.Context, peer enode.ID, envs ...*whisper.Envelope) error {
	b.mu.Lock()
	wait := b.slow[peer]
	b.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unplugged[peer] {
		return whisper.ErrNotConnected
	}
	b.sent[peer] = append(b.sent[peer], envs...)
	return nil
}

// bedKey is the disk key, and that of envelopes.
var bedKey = bytes.Repeat([]byte{7}, DiskKeySize)

// server is the public half of the push key, compressed, as capabilities name it.
func (b *bed) server() [33]byte { return [33]byte(crypto.CompressPubkey(&b.cfg.PushKey.PublicKey)) }

// metric is the sum of the counters or gauges of a name without its prefix that have
// the labels, given in pairs.
func (b *bed) metric(name string, labels ...string) float64 {
	return gather.Sum(b.t, b.cfg.Registerer.(*prometheus.Registry), "whisperpush_pushext_"+name, labels...)
}

// deaf is how slow a peer is that does not read.
const deaf = 1000 * time.Hour

// Source is the peer itself unless networks has another.
func (b *bed) Source(peer enode.ID) whisper.Source {
	b.mu.Lock()
	defer b.mu.Unlock()
	if source, ok := b.networks[peer]; ok {
		return source
	}
	return whisper.Source(peer[:])
}

func (b *bed) Useful(peer enode.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used[peer]++
}

func (b *bed) Proved(peer enode.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.knows[peer]++
}

func (b *bed) Answered(peer enode.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered[peer]++
}

// Connected tells of every peer that was not unplugged.
func (b *bed) Connected(peer enode.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.unplugged[peer]
}

func newBed(t testing.TB, limits Limits, more ...func(*Config)) *bed {
	t.Helper()
	pushKey, err := crypto.GenerateKey()
	require.NoError(t, err)
	b := &bed{
		t: t, disk: faultstore.New(), post: &postbox{name: "post", dead: make(map[string]bool)}, out: new(logtext.Buffer),
		archive: &archive{Log: memlog.New(), envs: make(map[common.Hash]*whisper.Envelope)},
		sent:    make(map[enode.ID][]*whisper.Envelope), unplugged: make(map[enode.ID]bool), answered: make(map[enode.ID]int), networks: make(map[enode.ID]whisper.Source),
		slow: make(map[enode.ID]time.Duration), used: make(map[enode.ID]int), knows: make(map[enode.ID]int),
	}
	if limits.PoW == 0 {
		limits.PoW = -1
	}
	b.cfg = Config{
		PushKey: pushKey, DiskKey: bedKey, Log: b.archive, Envelopes: b.archive, Sender: b,
		Providers: []pushext.Provider{b.post, &postbox{name: "other"}}, Limits: limits, Dir: b.t.TempDir(), storage: b.disk,
		Logger:     slog.New(slog.NewTextHandler(b.out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: prometheus.NewRegistry(),
	}
	for _, change := range more {
		change(&b.cfg)
	}
	b.start()
	return b
}

func (b *bed) start() {
	b.t.Helper()
	var err error
	b.ext, err = New(b.cfg)
	require.NoError(b.t, err)
	require.NoError(b.t, b.ext.Start(b.t.Context()))
}

func (b *bed) stop() {
	b.t.Helper()
	require.NoError(b.t, b.ext.Stop(b.t.Context()))
	time.Sleep(2 * time.Second) // goleveldb's pool lingers for one
}

func (b *bed) restart() {
	b.t.Helper()
	b.stop()
	b.cfg.Registerer = prometheus.NewRegistry()
	b.start()
}

// envelope archives a new envelope on a topic.
func (b *bed) envelope(t whisper.Topic) *whisper.Envelope {
	env := b.letter(t)
	b.archive.take(env)
	synctest.Wait()
	return env
}

func (b *bed) letter(t whisper.Topic) *whisper.Envelope {
	env, err := whisper.Seal(context.Background(), whisper.Draft{Payload: []byte("hi"), Topic: t, Key: bedKey})
	require.NoError(b.t, err)
	return env
}

// phone is a device in a test.
type phone struct {
	*bed
	key           *ecdsa.PrivateKey
	peer          enode.ID
	token         string
	private, seal []byte
	version       uint64
}

func (b *bed) phone(token string) *phone {
	p := &phone{bed: b, token: token}
	var err error
	p.key, err = crypto.GenerateKey()
	require.NoError(b.t, err)
	copy(p.peer[:], crypto.Keccak256(crypto.FromECDSA(p.key)))
	p.private, p.seal, err = pushwire.NewSealKey()
	require.NoError(b.t, err)
	return p
}

// send hands a request over and waits until everything is at rest; the reply
// is nil if there is none.
func (p *phone) send(req pushwire.Request) *pushwire.Reply {
	p.t.Helper()
	env, err := pushwire.SealRequest(context.Background(), req, p.key, &p.cfg.PushKey.PublicKey, 0)
	require.NoError(p.t, err)
	p.ext.HandleRequest(p.peer, env.Raw())
	synctest.Wait()
	return p.reply()
}

// throw hands a request over and waits for nothing.
func (p *phone) throw(body pushwire.RequestBody) {
	p.t.Helper()
	env, err := pushwire.SealRequest(context.Background(), pushwire.NewRequest(body, time.Now()), p.key, &p.cfg.PushKey.PublicKey, 0)
	require.NoError(p.t, err)
	p.ext.HandleRequest(p.peer, env.Raw())
}

// reply takes the newest reply off the link.
func (p *phone) reply() *pushwire.Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, env := range slices.Backward(p.sent[p.peer]) {
		rep, err := pushwire.OpenReply(env, p.key, &p.cfg.PushKey.PublicKey)
		require.NoError(p.t, err)
		if _, ring := rep.Body.(*pushwire.Ring); ring {
			continue // nobody asked for it
		}
		p.sent[p.peer] = slices.Delete(p.sent[p.peer], i, i+1)
		return &rep
	}
	return nil
}

// ask sends a request now and expects a reply to it.
func (p *phone) ask(body pushwire.RequestBody) *pushwire.Reply {
	p.t.Helper()
	req := pushwire.NewRequest(body, time.Now())
	rep := p.send(req)
	require.NotNil(p.t, rep)
	require.Equal(p.t, req.ID, rep.ID)
	return rep
}

// registration is a Register of this phone with the next version.
func (p *phone) registration(topics ...whisper.Topic) *pushwire.Register {
	p.version++
	g := &pushwire.Register{
		Version: p.version, SealKey: p.seal,
		Routes: []pushwire.Route{{Provider: "post", Address: []byte(p.token), Keys: [][]byte{[]byte("key of " + p.token)}}},
	}
	for _, t := range topics {
		g.Channels = append(g.Channels, pushwire.Channel{Topic: t})
	}
	start, err := pushwire.ChainStart(p.private, p.version)
	require.NoError(p.t, err)
	g.Chain = start[:]
	return g
}

// payloads opens what was pushed to the phone.
func (p *phone) payloads() []pushwire.Payload {
	p.t.Helper()
	var all []pushwire.Payload
	for _, n := range p.post.take(p.token) {
		require.Len(p.t, n.Body, pushwire.BodySize)
		payload, err := pushwire.OpenPayload(n.Body, p.private)
		require.NoError(p.t, err)
		all = append(all, payload)
	}
	return all
}

// code takes the challenge that was pushed.
func (p *phone) code() [pushwire.CodeSize]byte {
	p.t.Helper()
	all := p.payloads()
	require.Len(p.t, all, 1)
	require.Equal(p.t, pushwire.Challenge, all[0].Kind)
	return [pushwire.CodeSize]byte(all[0].Code)
}

// join registers and confirms.
func (p *phone) join(g *pushwire.Register) {
	p.t.Helper()
	rep := p.ask(g)
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	require.True(p.t, rep.Body.(*pushwire.RegisterReply).Challenged)
	rep = p.ask(&pushwire.Confirm{Code: p.code()})
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	require.Equal(p.t, pushwire.Active, rep.State)
}

// refused asks and expects a refusal.
func (p *phone) refused(body pushwire.RequestBody, code pushwire.Code) *pushwire.Reply {
	p.t.Helper()
	rep := p.ask(body)
	require.Equal(p.t, code.String(), rep.Code.String(), rep.Text)
	require.NotEmpty(p.t, rep.Text)
	return rep
}

// status asks for the status.
func (p *phone) status() (*pushwire.Reply, *pushwire.StatusReply) {
	p.t.Helper()
	rep := p.ask(&pushwire.Status{})
	require.Equal(p.t, pushwire.OK, rep.Code, rep.Text)
	return rep, rep.Body.(*pushwire.StatusReply)
}

var (
	topicA = whisper.Topic{0xa, 0xa, 0xa, 0xa}
	topicB = whisper.Topic{0xb, 0xb, 0xb, 0xb}
)
