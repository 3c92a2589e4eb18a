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
	"whisperpush/testutil/smalldisk"
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

	disks map[*genuinepostgres.Server]*smalldisk.Disk // of the servers' data
	away  outages
	full  int                // how often a server complained of its full disk; the driving goroutine's
	given atomic.Bool        // the storm was given up
	calm  context.CancelFunc // ends the storm

	mu      sync.Mutex // guards the following fields
	posted  map[common.Hash]post
	archive map[uint64]common.Hash // what was seen in the log, by sequence
}

// post is a message that was posted.
type post struct {
	to *device
	at time.Time
}

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
	w.calm = calm
	var writing sync.WaitGroup
	writing.Go(func() { w.write(storm) })
	writing.Go(func() { w.watch(storm) })
	writing.Go(func() { w.report(storm) })
	w.breakThings(storm)
	writing.Wait()
	w.settle()
	stop()
	living.Wait()
	if !w.given.Load() {
		w.judge()
	}
	w.tell()
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(*seedFlag, 1)), posted: map[common.Hash]post{}, archive: map[uint64]common.Hash{},
		disks: map[*genuinepostgres.Server]*smalldisk.Disk{}, calm: func() {},
	}
	w.startDatabase()
	var err error
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

// databaseDisk is how large the disk of a server is. It takes memory when it is filled.
const databaseDisk = "768m"

// databaseSettings have a server write its log as files that are made when they are needed,
// so that it soon finds a disk to be full.
var databaseSettings = []string{"wal_recycle=off", "max_wal_size=64MB", "min_wal_size=8MB", "wal_keep_size=128MB"}

// startDatabase starts the primary and its standby, each on a disk of its own.
func (w *world) startDatabase() {
	t := w.t
	o := genuinepostgres.Options{SegmentMiB: 1, Settings: databaseSettings}
	disk := w.disk(databaseDisk)
	if disk != nil {
		o.Data = disk.Dir
	}
	var err error
	w.primary, err = genuinepostgres.StartWith(t.Context(), o)
	if errors.Is(err, genuinepostgres.ErrNotInstalled) {
		t.Skip(err)
	}
	require.NoError(t, err)
	first := w.primary
	t.Cleanup(func() { first.Stop() })
	w.disks[first] = disk
	w.database, err = w.primary.Database(t.Context())
	require.NoError(t, err)
	disk = w.disk(databaseDisk)
	if disk != nil {
		o.Data = disk.Dir
	}
	w.standby, err = w.primary.StandbyOn(t.Context(), o.Data)
	require.NoError(t, err)
	second := w.standby
	t.Cleanup(func() { second.Stop() })
	w.disks[second] = disk
}

// disk mounts a small disk that is there until the test has ended; nil if none can be mounted.
func (w *world) disk(size string) *smalldisk.Disk {
	disk, err := smalldisk.Mount(size)
	if err != nil {
		fmt.Printf("cluster: no disks are filled: %v\n", err)
		return nil
	}
	w.t.Cleanup(func() { assert.NoError(w.t, disk.Unmount()) })
	return disk
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
		one := newNode(t, fmt.Sprintf("node %d", i+1), settings, w.primary.Addr(), address, w.disk(nodeDisk), keys)
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
			w.posted[h] = post{d, time.Now()}
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
	for h, p := range w.posted {
		d := p.to
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

// giveUp ends the storm and fails the test, the first time.
func (w *world) giveUp(format string, args ...any) {
	if w.given.Swap(true) {
		return
	}
	said := fmt.Sprintf(format, args...)
	fmt.Printf("cluster: given up: %s\n", said)
	assert.Fail(w.t, said)
	w.calm()
}

// broke reports that a registration is not as it was acknowledged.
func (w *world) broke(format string, args ...any) {
	w.wrong.Add(1)
	fmt.Printf("cluster: "+format+"\n", args...)
}

// settle waits until every device was woken for everything that was posted, as long as that may
// take, but for what nobody took.
func (w *world) settle() {
	deadline := time.Now().Add(settling)
	for time.Now().Before(deadline) && !w.given.Load() {
		_, received, err := w.log(w.t.Context())
		missing := err != nil
		w.mu.Lock()
		for h, p := range w.posted {
			_, archived := received[h]
			p.to.mu.Lock()
			_, ok := p.to.covered[h]
			missing = missing || !(ok && p.to.shown[h]) && (archived || !w.refused(p))
			p.to.mu.Unlock()
		}
		w.mu.Unlock()
		if !missing {
			return
		}
		pause(w.t.Context(), 100*time.Millisecond)
	}
	if !w.given.Load() {
		fmt.Printf("cluster: not settled after %v: %v\n", settling, w.progress())
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
