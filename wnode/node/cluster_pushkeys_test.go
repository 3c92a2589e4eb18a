//go:build unix

package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/testutil/faultproxy"
)

// sharedKeys are the push keys that a node of a cluster answers to.
func (w *world) sharedKeys() pushserver.Keys { return w.push.(*sharedPush).Keys() }

// requireKeyEverywhere waits until all nodes have a push key, also in their files, and nothing of the next one is left.
func requireKeyEverywhere(t *testing.T, key *ecdsa.PublicKey, nodes ...*world) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, w := range nodes {
			secret, err := PushKeyFile(w.cfg).Read()
			require.NoError(t, err)
			file, err := crypto.ToECDSA(secret)
			require.NoError(t, err)
			if !w.PushKey().Equal(key) || !w.sharedKeys().Current.PublicKey.Equal(key) || w.sharedKeys().Next != nil || !file.PublicKey.Equal(key) {
				return false
			}
		}
		return true
	}, 10*time.Second, 10*time.Millisecond)
	for _, w := range nodes {
		require.NoFileExists(t, PushKeyFile(w.cfg).Path()+nextSuffix)
	}
}

// again opens the device's account at a node as an app does that was given a key.
func (p *phone) again(t *testing.T, w *world, key string) {
	t.Helper()
	require.NoError(t, p.Close())
	var err error
	p.w = w
	p.Device, err = client.Open(t.Context(), client.Config{
		Server: w.link.Self().URLv4(), PushKey: key, Store: &p.state, Chats: []client.Chat{p.chat}, Logger: NewLogger(&w.log, w.cfg.Log),
	})
	require.NoError(t, err)
	device := p.Device
	t.Cleanup(func() { require.NoError(t, device.Close()) })
}

// Three nodes exchange their push key at the request of one. Devices that registered before, while it was exchanged, and
// after are rung for everything and answered by each of the nodes, whichever key they know; one node is away meanwhile, and
// takes the key when it comes back with the files of before.
func TestClusterExchangesThePushKey(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 3)
	first := nodes[0].PushKey()
	var phones []*phone
	for i := range 6 {
		phones = append(phones, phoneAt(t, nodes[i%3]))
	}
	round := func(text string, from *world, at func(i int) *world) {
		t.Helper()
		from.post(t, text)
		for i, p := range phones {
			push := p.ring(t)
			p.again(t, at(i), compressedHex(first)) // as its app was set up
			require.Equal(t, []string{text}, shows(t, p.Device, push.Body), "device %d", i)
			require.Equal(t, compressedHex(at(i).PushKey()), p.PushKey(), "device %d", i)
			p.Sleep()
		}
	}
	round("before", nodes[0], func(i int) *world { return nodes[(i+1)%3] })

	// One device asks all nodes all the time, and each answers it.
	asking, stop := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	restless := phoneAt(t, nodes[0])
	go func() {
		for i := 0; ; i++ {
			if asking.Err() != nil {
				asked <- nil
				return
			}
			d, err := client.Open(t.Context(), client.Config{Server: nodes[i%2].link.Self().URLv4(), PushKey: compressedHex(first), Store: &restless.state})
			if err == nil {
				_, err = d.Status(t.Context())
				d.Close()
			}
			if err != nil {
				asked <- err
				return
			}
		}
	}()
	nodes[2].halt() // with the first key in its files
	requireShared(t, nodes[:2]...)
	report := nodes[0].rotatePush(t, false)
	require.Equal(t, PushKeyOverlap, report.State)
	require.Equal(t, 7, report.All, "of all nodes")
	second := nodes[0].PushKey()
	require.False(t, second.Equal(first))
	during := phoneAt(t, nodes[1])
	stop()
	require.NoError(t, <-asked)
	requireKeyEverywhere(t, second, nodes[:2]...)
	nodes[2].restart(t, true)
	requireKeyEverywhere(t, second, nodes...)
	requireShared(t, nodes...)
	phones = append(phones, during, phoneAt(t, nodes[2]))
	round("in the overlap", nodes[1], func(i int) *world { return nodes[i%3] })
	round("and at another node", nodes[2], func(i int) *world { return nodes[(i+1)%3] })
	require.Eventually(t, func() bool { return nodes[1].pushKeyReport(t).Moved >= 8 }, 10*time.Second, 20*time.Millisecond)

	_, err := (&Admin{node: nodes[1].Node}).RotatePushKey(t.Context(), false)
	require.ErrorContains(t, err, "--now ends it at once", "it is asked for at another node")

	// The overlap ends at once, for all nodes, and devices that went on do not notice.
	require.Equal(t, PushKeyEnded, nodes[2].rotatePush(t, true).State)
	requireKeyEverywhere(t, second, nodes...)
	for _, w := range nodes {
		require.Equal(t, PushKeyEnded, w.pushKeyReport(t).State)
		late := w.deviceOf(t, client.Config{Server: w.link.Self().URLv4(), PushKey: compressedHex(first)})
		_, err := late.Status(t.Context())
		require.True(t, client.IsRefused(err, pushwire.Retired), "%v", err)
	}
	round("after the overlap", nodes[0], func(i int) *world { return nodes[(i+2)%3] })

	// Others may know this one too.
	require.Equal(t, PushKeyEnded, nodes[1].rotatePush(t, true).State)
	requireKeyEverywhere(t, nodes[1].PushKey(), nodes...)
	nodes[0].post(t, "to devices that have to be given the key")
	for i, p := range phones {
		push := p.ring(t)
		w := nodes[i%3]
		p.again(t, w, compressedHex(second))
		_, err := p.Receive(t.Context(), push.Body)
		require.True(t, client.IsRefused(err, pushwire.Retired), "device %d: %v", i, err)
		require.NoError(t, p.Close())
		p.Device, err = client.Open(t.Context(), client.Config{
			Server: w.link.Self().URLv4(), PushKey: compressedHex(w.PushKey()), FormerPushKeys: []string{compressedHex(second)}, Store: &p.state, Chats: []client.Chat{p.chat},
		})
		require.NoError(t, err)
		require.Equal(t, []string{"to devices that have to be given the key"}, shows(t, p.Device, push.Body), "device %d", i)
		require.NoError(t, p.Close())
	}
}

// An exchange that is interrupted when the next key is written, and not current yet, is gone on with by whoever is asked
// next. Until then nobody is told of that key, and the nodes know each other.
func TestInterruptedExchangeOfASharedPushKey(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	u, err := url.Parse(nodes[0].cfg.Node.Store)
	require.NoError(t, err)
	proxy, err := faultproxy.Listen(u.Host, faultproxy.Profile{}, 1)
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	u.Host = proxy.Addr()
	third := newWorld(t)
	third.fcm, third.cfg.Push.Provider = nodes[0].fcm, nodes[0].cfg.Push.Provider
	for _, name := range []string{"pushkey", "push.disk.key"} {
		key, err := os.ReadFile(filepath.Join(nodes[0].cfg.Node.DataDir, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(third.cfg.Node.DataDir, name), key, 0o600))
	}
	third.cfg.Node.Store, third.cfg.Node.StorePasswordFile = u.String(), nodes[0].cfg.Node.StorePasswordFile
	third.restart(t, true)
	nodes = append(nodes, third)
	requireShared(t, nodes...)
	first := nodes[0].PushKey()
	var phones []*phone
	for i := range 6 {
		phones = append(phones, phoneAt(t, nodes[i%3]))
	}

	// The third node does not hear of anything for a while, so that the first waits for it, and dies.
	proxy.BlackHole()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := (&Admin{node: nodes[0].Node}).RotatePushKey(ctx, false)
		failed <- err
	}()
	require.Eventually(t, func() bool { return nodes[1].sharedKeys().Next != nil }, 10*time.Second, time.Millisecond)
	next := &nodes[1].sharedKeys().Next.PublicKey
	cancel()
	require.ErrorContains(t, <-failed, "run the command again")
	nodes[0].halt()
	proxy.Mend()
	require.Eventually(t, func() bool { return third.sharedKeys().Next != nil }, 10*time.Second, 10*time.Millisecond)
	requireShared(t, nodes[1:]...)
	for _, w := range nodes[1:] {
		require.True(t, w.PushKey().Equal(first), "it is not current yet")
		require.Equal(t, keyInUse, w.pushKeyReport(t).State)
	}
	nodes[1].post(t, "between")
	for i, p := range phones {
		push := p.ring(t)
		p.again(t, nodes[1+i%2], compressedHex(first))
		require.Equal(t, []string{"between"}, shows(t, p.Device, push.Body), "device %d", i)
		require.Equal(t, compressedHex(first), p.PushKey())
		p.Sleep()
	}

	require.Equal(t, PushKeyOverlap, nodes[1].rotatePush(t, false).State)
	require.True(t, nodes[1].PushKey().Equal(next), "no other key is made")
	nodes[0].restart(t, true)
	requireKeyEverywhere(t, next, nodes...)
	requireShared(t, nodes...)
	nodes[2].post(t, "after")
	for i, p := range phones {
		push := p.ring(t)
		p.again(t, nodes[i%3], compressedHex(first))
		require.Equal(t, []string{"after"}, shows(t, p.Device, push.Body), "device %d", i)
		require.Equal(t, compressedHex(next), p.PushKey())
	}
}

// A node whose files have a key that the others never had does not share their registrations, and its files stay.
func TestPushKeyOfAnotherClusterIsRefused(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 1)
	phoneAt(t, nodes[0])
	before := PushKeyFile(nodes[0].cfg)
	former, err := before.Read()
	require.NoError(t, err)
	nodes[0].rotatePush(t, false)
	stranger := newWorld(t)
	stranger.cfg.Node.Store, stranger.cfg.Node.StorePasswordFile = nodes[0].cfg.Node.Store, nodes[0].cfg.Node.StorePasswordFile
	key, err := os.ReadFile(DiskKeyFile(nodes[0].cfg).Path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(DiskKeyFile(stranger.cfg).Path(), key, 0o600))
	secret := hex.EncodeToString(crypto.FromECDSA(newKey(t)))
	require.NoError(t, os.WriteFile(PushKeyFile(stranger.cfg).Path(), []byte(secret), 0o600))
	start := func() error {
		stranger.cfg.Mailserver.Enabled, stranger.cfg.Push.Enabled = true, true
		n, err := Start(stranger.cfg, NewLogger(&stranger.log, stranger.cfg.Log))
		if err == nil {
			n.Stop()
		}
		return err
	}
	require.ErrorContains(t, start(), "the push key is none that they had lately")
	kept, err := os.ReadFile(PushKeyFile(stranger.cfg).Path())
	require.NoError(t, err)
	require.Equal(t, secret, string(kept))

	// With the key of before it is one of them, and with another disk key it is not.
	require.NoError(t, os.WriteFile(PushKeyFile(stranger.cfg).Path(), []byte(hex.EncodeToString(crypto.FromECDSA(nodes[0].sharedKeys().Former[0].Key))), 0o600))
	require.NoError(t, start())
	require.NoError(t, os.WriteFile(DiskKeyFile(stranger.cfg).Path(), []byte(hex.EncodeToString(crypto.FromECDSA(newKey(t)))), 0o600))
	require.ErrorContains(t, start(), "put that one there, copied from the node that had them")

	// Nor is the key of before taken for that of registrations which move to a directory.
	nodes[0].halt()
	require.NoError(t, os.WriteFile(before.Path(), []byte(hex.EncodeToString(former)), 0o600))
	require.NoError(t, os.Remove(FormerPushKeysPath(nodes[0].cfg)))
	_, err = MoveToDirectory(t.Context(), nodes[0].cfg, slog.New(slog.DiscardHandler), nil)
	require.ErrorContains(t, err, "is not the one that the nodes of the database have exchanged it for")
	nodes[0].restart(t, true)
	nodes[0].halt()
	_, err = MoveToDirectory(t.Context(), nodes[0].cfg, slog.New(slog.DiscardHandler), func(string, uint64, uint64) {})
	require.NoError(t, err)
	nodes[0].cfg.Node.Store, nodes[0].cfg.Node.StorePasswordFile = "", ""
	nodes[0].restart(t, true)
	require.Equal(t, PushKeyOverlap, nodes[0].pushKeyReport(t).State)
}

// formerNode stands in for a node of a program that knows no exchange of a shared push key: it is known by a key that is
// derived from the push key, and refuses messages that it does not know. It returns its address.
func formerNode(t *testing.T, pushKey *ecdsa.PrivateKey) string {
	t.Helper()
	seed, err := hkdf.Key(sha256.New, crypto.FromECDSA(pushKey), nil, "whisperpush cluster 1", ed25519.SeedSize)
	require.NoError(t, err)
	key := ed25519.NewKeyFromSeed(seed)
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	require.NoError(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			c, err := x509.ParseCertificate(raw[0])
			if err == nil && !c.PublicKey.(ed25519.PublicKey).Equal(key.Public()) {
				err = errors.New("a stranger")
			}
			return err
		},
	})
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for {
					var head [9]byte // length, kind, sequence
					if _, err := io.ReadFull(conn, head[:]); err != nil {
						return
					}
					if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:]))-5); err != nil {
						return
					}
					conn.Write(append([]byte{0, 0, 0, 6, 0}, append(head[5:], 0)...)) // an answer: no
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// While a node is alive whose program knows no exchange of a shared push key, nothing is exchanged, and the refusal says which
// node it is; so while one does not answer. The tables stay as such a program knows them.
func TestPushKeyIsNotExchangedBesideAFormerProgram(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	first := nodes[0].PushKey()
	password, err := StorePassword(nodes[0].cfg)
	require.NoError(t, err)
	config, err := pgx.ParseConfig(nodes[0].cfg.Node.Store)
	require.NoError(t, err)
	config.Password = password
	db, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close(context.Background()) })
	join := func(address string) {
		_, err := db.Exec(t.Context(), "INSERT INTO whisperpush.nodes SELECT 1, $1, keys, until + 3600000 FROM whisperpush.nodes LIMIT 1 ON CONFLICT (node) DO UPDATE SET address = excluded.address", address)
		require.NoError(t, err)
	}
	version := func() (v int) {
		require.NoError(t, db.QueryRow(t.Context(), "SELECT version FROM whisperpush.schema_version").Scan(&v))
		return v
	}
	before := version()
	address := formerNode(t, nodes[0].sharedKeys().Current)
	join(address)
	_, err = (&Admin{node: nodes[0].Node}).RotatePushKey(t.Context(), false)
	require.ErrorContains(t, err, "the node at "+address+" runs a program that knows no exchange of a push key that nodes share; upgrade it first")
	join("127.0.0.1:1")
	_, err = (&Admin{node: nodes[1].Node}).RotatePushKey(t.Context(), true)
	require.ErrorContains(t, err, "the node at 127.0.0.1:1 does not answer")
	for _, w := range nodes {
		require.True(t, w.PushKey().Equal(first))
		require.Nil(t, w.sharedKeys().Next)
	}
	require.Equal(t, before, version())

	_, err = db.Exec(t.Context(), "DELETE FROM whisperpush.nodes WHERE node = 1")
	require.NoError(t, err)
	nodes[1].rotatePush(t, false)
	requireKeyEverywhere(t, nodes[1].PushKey(), nodes...)
	require.Equal(t, before+1, version(), "a program that does not know of it does not start any more")
	nodes[0].restart(t, true)
	requireShared(t, nodes...)
}

// Two nodes that are asked at the same time exchange the key once, and one of them says that it was not it.
func TestTwoNodesAreAskedForAnotherPushKey(t *testing.T) {
	t.Parallel()
	nodes := newClusterOf(t, 2)
	failed := make(chan error, len(nodes))
	for _, w := range nodes {
		go func() {
			_, err := (&Admin{node: w.Node}).RotatePushKey(t.Context(), false)
			failed <- err
		}()
	}
	first, second := <-failed, <-failed
	require.True(t, (first == nil) != (second == nil), "%v, %v", first, second)
	requireKeyEverywhere(t, &nodes[0].sharedKeys().Current.PublicKey, nodes...)
	for _, w := range nodes {
		require.Len(t, w.sharedKeys().Former, 1)
	}
}
