//go:build linux

package chaos

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/emulate"
	"whisperpush/testutil/genuinepostgres"
	"whisperpush/whisper"
	"whisperpush/whisper/devp2p"
)

// promised is how soon after its envelope was archived a device is to be woken.
const promised = 15 * time.Second

// settling is how long after the last thing was broken everything has to be delivered and fetched.
const settling = time.Minute

// world is everything around the nodes.
type world struct {
	t        *testing.T
	rng      *rand.Rand // the driving goroutine's
	fcm      *emulate.FCM
	writer   *whisper.Node
	pushKey  string
	password string
	nodes    []*node
	devices  []*device
	broken   atomic.Int64 // how many things were broken so far
	renewed  atomic.Int64 // how many registrations were renewed
	wrong    atomic.Int64 // versions of registrations that went back

	primary, standby *genuinepostgres.Server
	database         string
	earlier          string // program of another version, "" if there is none

	mu      sync.Mutex // guards the following fields
	posted  map[common.Hash]*device
	away    []span                 // when the database was away
	archive map[uint64]common.Hash // what was seen in the log, by sequence
}

type span struct{ from, to time.Time }

// TestCluster breaks nodes and their database for a while, and then demands: nothing that
// was archived is lost or there twice, every match was woken for, in 15 s unless the
// database was away, and no device was woken for the same more than once again for each
// thing that was broken.
func TestCluster(t *testing.T) {
	if *timeFlag == 0 {
		t.Skip("its nodes and databases take all processors from the tests beside them: make cluster-short runs it")
	}
	w := newWorld(t)
	live, stop := context.WithCancel(t.Context())
	var living sync.WaitGroup
	for _, d := range w.devices {
		living.Go(func() { d.live(live) })
	}
	storm, calm := context.WithTimeout(t.Context(), *timeFlag)
	defer calm()
	var writing sync.WaitGroup
	writing.Go(func() { w.write(storm) })
	writing.Go(func() { w.watch(storm) })
	writing.Go(func() { w.report(storm) })
	w.breakThings(storm)
	writing.Wait()
	w.settle()
	stop()
	living.Wait()
	w.judge()
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(*seedFlag, 1)), posted: map[common.Hash]*device{}, archive: map[uint64]common.Hash{},
	}
	var err error
	w.primary, err = genuinepostgres.Start(t.Context())
	if errors.Is(err, genuinepostgres.ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	first := w.primary
	t.Cleanup(func() { first.Stop() })
	w.database, err = w.primary.Database(t.Context())
	require.NoError(t, err)
	w.standby, err = w.primary.Standby(t.Context())
	require.NoError(t, err)
	second := w.standby
	t.Cleanup(func() { second.Stop() })
	u, err := url.Parse(w.database)
	require.NoError(t, err)
	w.password, _ = u.User.Password()
	u.User = url.User(u.User.Username())

	w.fcm, err = emulate.StartFCM(emulate.FCMConfig{})
	require.NoError(t, err)
	t.Cleanup(w.fcm.Close)
	account := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(account, w.fcm.CredentialsJSON(), 0o600))
	settings := fmt.Sprintf("[[Push.Provider]]\nType = \"direct\"\n\n[[Push.Provider]]\nType = \"fcm\"\nEndpoint = %q\nCredentialsFile = %q\n", w.fcm.Endpoint(), account)
	secret, err := crypto.GenerateKey()
	require.NoError(t, err)
	w.pushKey = "0x" + hex.EncodeToString(crypto.CompressPubkey(&secret.PublicKey))
	disk := crypto.Keccak256(crypto.FromECDSA(secret))
	keys := map[string]string{"pushkey": hex.EncodeToString(crypto.FromECDSA(secret)), "push.disk.key": hex.EncodeToString(disk)}
	if *beforeFlag == "" {
		fmt.Println("cluster: all nodes run this version; -cluster.before COMMIT has another one take part")
	} else {
		w.earlier = build(t, *beforeFlag)
	}
	w.connect(3, settings, u.String(), keys)
	tokens := map[string]*device{}
	for i := range *devicesFlag {
		d := &device{
			w: w, linked: i%links == 0, token: w.fcm.NewToken(), rng: rand.New(rand.NewPCG(*seedFlag, uint64(100+i))), covered: map[common.Hash]time.Time{},
			repeated: map[int]int{}, shown: map[common.Hash]bool{},
			chat: client.Chat{Name: "chat", Topic: whisper.TopicFor(fmt.Sprintf("chat %d", i)), Key: crypto.Keccak256([]byte{byte(i), byte(i >> 8)})},
		}
		tokens[d.token] = d
		w.devices = append(w.devices, d)
	}
	w.fcm.Watch(func(push emulate.Push) { tokens[push.Token].woken(push, int(w.broken.Load())) })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, d := range w.devices {
		require.NoError(t, d.enrol(ctx))
	}
	return w
}

// connect starts the nodes and the writer, which is a peer of all of them.
func (w *world) connect(n int, settings, address string, keys map[string]string) {
	t := w.t
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	w.writer, err = whisper.NewNode(whisper.Config{})
	require.NoError(t, err)
	require.NoError(t, w.writer.Start())
	t.Cleanup(w.writer.Stop)
	link := &p2p.Server{Config: p2p.Config{
		PrivateKey: key, MaxPeers: 10, NoDiscovery: true, Name: "cluster", ListenAddr: "127.0.0.1:0",
		Protocols: []p2p.Protocol{devp2p.Protocol(w.writer)}, Logger: log.NewLogger(log.DiscardHandler()),
	}}
	require.NoError(t, link.Start())
	t.Cleanup(link.Stop)
	settings = fmt.Sprintf("[Node]\nStaticNodes = [%q]\n\n%s", link.Self().URLv4(), settings)
	for i := range n {
		one := newNode(t, fmt.Sprintf("node %d", i+1), settings, w.primary.Addr(), address, keys)
		if i == 0 {
			one.earlier = w.earlier
		}
		w.nodes = append(w.nodes, one)
		require.NoError(t, one.start(w.password))
		t.Cleanup(one.kill)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		require.NoError(t, w.writer.WaitPeer(ctx, one.enode.ID()))
		cancel()
	}
}

// write posts messages to devices until ctx ends.
func (w *world) write(ctx context.Context) {
	rng := rand.New(rand.NewPCG(*seedFlag, 2))
	tick := time.NewTicker(*everyFlag)
	defer tick.Stop()
	for number := 0; ; number++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		d := w.devices[rng.IntN(len(w.devices))]
		h, err := d.write(w.t.Context(), number)
		if assert.NoError(w.t, err) {
			w.mu.Lock()
			w.posted[h] = d
			w.mu.Unlock()
		}
	}
}

// log reads the whole archive.
func (w *world) log(ctx context.Context) (all map[uint64]common.Hash, received map[common.Hash]time.Time, err error) {
	u, err := url.Parse(w.database)
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	u.Host = w.primary.Addr()
	w.mu.Unlock()
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close(context.Background())
	tables, err := conn.Query(ctx, "SELECT 'whisperpush.log_' || first FROM whisperpush.parts ORDER BY first")
	if err != nil {
		return nil, nil, err
	}
	names, err := pgx.CollectRows(tables, pgx.RowTo[string])
	if err != nil {
		return nil, nil, err
	}
	all, received = map[uint64]common.Hash{}, map[common.Hash]time.Time{}
	for _, name := range names {
		rows, err := conn.Query(ctx, "SELECT seq, hash, received FROM "+name)
		if err != nil {
			return nil, nil, err
		}
		var seq, at int64
		var hash []byte
		if _, err := pgx.ForEachRow(rows, []any{&seq, &hash, &at}, func() error {
			all[uint64(seq)] = common.Hash(hash)
			received[common.Hash(hash)] = time.UnixMilli(at)
			return nil
		}); err != nil {
			return nil, nil, err
		}
	}
	return all, received, nil
}

// watch notes what is in the log, while it goes on: what was committed once.
func (w *world) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if all, _, err := w.log(ctx); err == nil {
			w.mu.Lock()
			for seq, h := range all {
				if before, seen := w.archive[seq]; seen && before != h {
					assert.Fail(w.t, "the log changed", "sequence %d", seq)
				}
				w.archive[seq] = h
			}
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// breakThings breaks one thing after the other until ctx ends, and mends it. The primary
// is killed once, in the middle.
func (w *world) breakThings(ctx context.Context) {
	until, _ := ctx.Deadline()
	middle := time.Now().Add(time.Until(until) / 2)
	for ctx.Err() == nil {
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		what := w.rng.IntN(4)
		length := time.Second + time.Duration(w.rng.Int64N(int64(6*time.Second)))
		w.broken.Add(1)
		switch {
		case w.standby != nil && time.Now().After(middle):
			w.failOver()
			length = 0
		case what == 0:
			fmt.Printf("cluster: kill -9 of %s, for %v\n", n.name, length)
			n.kill()
			pause(w.t.Context(), length)
			w.exchange(n)
			require.NoError(w.t, n.start(w.password))
		case what == 1:
			fmt.Printf("cluster: SIGSTOP of %s, for %v\n", n.name, length)
			n.signal(syscall.SIGSTOP)
			pause(w.t.Context(), length)
			n.signal(syscall.SIGCONT)
		case what == 2:
			fmt.Printf("cluster: %s loses its database, for %v\n", n.name, length)
			n.proxy.BlackHole()
			pause(w.t.Context(), length)
			n.proxy.Mend()
		default:
			fmt.Printf("cluster: connections of %s to its database are reset\n", n.name)
			n.proxy.ResetAll()
		}
		pause(ctx, time.Second+time.Duration(w.rng.Int64N(int64(4*time.Second))))
	}
}

// exchange has a node that does not run go on with the other version, as in an upgrade, or in one that is taken back.
func (w *world) exchange(n *node) {
	switch {
	case w.earlier == "":
	case n.earlier == "":
		n.earlier = w.earlier
		fmt.Printf("cluster: %s goes back to the earlier version\n", n.name)
	default:
		n.earlier = ""
		fmt.Printf("cluster: %s is upgraded\n", n.name)
	}
}

// failOver kills the primary and promotes the standby.
func (w *world) failOver() {
	from := time.Now()
	require.NoError(w.t, w.primary.Kill())
	require.NoError(w.t, w.standby.Promote(w.t.Context()))
	w.mu.Lock()
	w.primary, w.standby = w.standby, nil
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.proxy.SetTarget(w.primary.Addr())
		n.proxy.ResetAll()
	}
	to := time.Now()
	fmt.Printf("cluster: kill -9 of the primary; the standby took over in %v\n", to.Sub(from).Round(time.Millisecond))
	w.mu.Lock()
	w.away = append(w.away, span{from, to})
	w.mu.Unlock()
}

// report prints how far the nodes and devices are, until ctx ends.
func (w *world) report(ctx context.Context) {
	for began := time.Now(); ; {
		pause(ctx, 10*time.Second)
		if ctx.Err() != nil {
			return
		}
		fmt.Printf("cluster: after %v %v\n", time.Since(began).Round(time.Second), w.progress())
	}
}

// progress tells how many messages were posted, woken for and fetched.
func (w *world) progress() string {
	woken, shown := 0, 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for h, d := range w.posted {
		d.mu.Lock()
		if _, ok := d.covered[h]; ok {
			woken++
		}
		if d.shown[h] {
			shown++
		}
		d.mu.Unlock()
	}
	return fmt.Sprintf("%d posted, %d in the log, %d woken for, %d fetched", len(w.posted), len(w.archive), woken, shown)
}

// broke reports that a registration is not as it was acknowledged.
func (w *world) broke(format string, args ...any) {
	w.wrong.Add(1)
	fmt.Printf("cluster: "+format+"\n", args...)
}

// settle waits until everything that was posted is archived and every device was woken for
// it, as long as that may take.
func (w *world) settle() {
	deadline := time.Now().Add(settling)
	for time.Now().Before(deadline) {
		missing := 0
		w.mu.Lock()
		for h, d := range w.posted {
			d.mu.Lock()
			if _, ok := d.covered[h]; !ok || !d.shown[h] {
				missing++
			}
			d.mu.Unlock()
		}
		w.mu.Unlock()
		if missing == 0 {
			return
		}
		pause(w.t.Context(), 100*time.Millisecond)
	}
	fmt.Printf("cluster: not settled after %v: %v\n", settling, w.progress())
}

// judge is the oracle.
func (w *world) judge() {
	t := w.t
	all, received, err := w.log(t.Context())
	require.NoError(t, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq, h := range w.archive {
		assert.Equal(t, h, all[seq], "an archived envelope is lost, sequence %d", seq)
	}
	twice := map[common.Hash]bool{}
	for seq := uint64(1); seq <= uint64(len(all)); seq++ {
		h, ok := all[seq]
		assert.True(t, ok, "the log has a gap at %d", seq)
		assert.False(t, twice[h], "an envelope is archived twice")
		twice[h] = true
	}
	unarchived, unwoken, unshown, late, repeated := 0, 0, 0, 0, 0
	slowest := time.Duration(0)
	for h, d := range w.posted {
		at, archived := received[h]
		d.mu.Lock()
		woken, ok := d.covered[h]
		shown := d.shown[h]
		d.mu.Unlock()
		switch {
		case !archived:
			unarchived++
			continue
		case !ok:
			unwoken++
			fmt.Printf("cluster: nobody was woken for %s, archived at %s\n", short(h), at.Format("15:04:05.000"))
			continue
		case !shown:
			unshown++
		}
		took := woken.Sub(at)
		slowest = max(slowest, took)
		if took > promised && !w.excused(at, woken) {
			late++
			fmt.Printf("cluster: woken for %s after %v, archived at %s\n", short(h), took.Round(time.Millisecond), at.Format("15:04:05.000"))
		}
	}
	for i, d := range w.devices {
		for broken, n := range d.repeated {
			repeated += n
			assert.LessOrEqual(t, n, 1, "device %d was woken %d times for nothing new after %d things were broken", i, n, broken)
		}
	}
	assert.Zero(t, unarchived, "messages that no node took")
	assert.Zero(t, unwoken, "matches without a wake-up")
	assert.Zero(t, unshown, "messages that were not fetched")
	assert.Zero(t, late, "wake-ups that came too late")
	assert.Zero(t, w.wrong.Load(), "versions of registrations that went back")
	fmt.Printf("cluster: done: %d things broken, %d devices, %d messages, %d archived envelopes seen, 0 lost; %d matches without a wake-up, %d late, slowest %v; %d wake-ups repeated; %d registrations renewed, %d versions went back\n",
		w.broken.Load(), len(w.devices), len(w.posted), len(w.archive), unwoken, late, slowest.Round(time.Millisecond), repeated, w.renewed.Load(), w.wrong.Load())
	if t.Failed() {
		for _, n := range w.nodes {
			fmt.Printf("== %s\n%s\n", n.name, n.stderr.String())
		}
	}
}

// excused tells whether the database was away meanwhile, and the wake-up came in time after
// that.
func (w *world) excused(from, to time.Time) bool {
	for _, s := range w.away {
		if from.Before(s.to) && to.Before(s.to.Add(promised)) && to.After(s.from) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
