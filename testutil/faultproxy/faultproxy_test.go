package faultproxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo listens and sends back what it gets, until the caller half-closes.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func listen(t *testing.T, profile Profile, seed uint64) *Proxy {
	t.Helper()
	p, err := Listen(echo(t), profile, seed)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Whatever the network, the bytes arrive whole, in order, and are counted.
func TestBytesArriveInOrder(t *testing.T) {
	for _, profile := range []Profile{{Name: "none"}, WiFi, Mobile, Edge} {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			p := listen(t, profile, 1)
			conn := dial(t, p)
			sent := make([]byte, 8<<10)
			random := rand.NewChaCha8([32]byte{})
			random.Read(sent)
			go func() {
				for part := sent; len(part) > 0; {
					n := min(len(part), 1+rand.IntN(3000))
					conn.Write(part[:n])
					part = part[n:]
				}
				conn.(*net.TCPConn).CloseWrite()
			}()
			began := time.Now()
			got, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent, got))
			up, down := p.Bytes()
			require.EqualValues(t, len(sent), up)
			require.EqualValues(t, len(sent), down)
			// Sooner than this the link cannot have carried it, however fast the machine is.
			atLeast := 2 * profile.Latency
			if profile.Up > 0 {
				atLeast += time.Duration(len(sent)) * time.Second / time.Duration(profile.Up)
			}
			require.GreaterOrEqual(t, time.Since(began), atLeast)
		})
	}
}

func ping(t *testing.T, conn net.Conn) error {
	t.Helper()
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	answer := make([]byte, 4)
	_, err := io.ReadFull(conn, answer)
	if err == nil {
		require.Equal(t, "ping", string(answer))
	}
	return err
}

// attempt dials and pings; a reset may come before either has returned.
func attempt(t *testing.T, p *Proxy) error {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	return ping(t, conn)
}

func TestBreak(t *testing.T) {
	p := listen(t, Profile{}, 1)
	conn := dial(t, p)
	require.NoError(t, ping(t, conn))
	p.Break()
	require.Error(t, ping(t, conn))
	require.Error(t, attempt(t, p))
	p.Mend()
	require.NoError(t, ping(t, dial(t, p)))
}

func TestBlackHole(t *testing.T) {
	p := listen(t, Profile{}, 1)
	conn := dial(t, p)
	require.NoError(t, ping(t, conn))
	p.BlackHole()
	answer := make(chan error, 1)
	go func() { answer <- ping(t, conn) }()
	late := dial(t, p) // is accepted, and hears nothing
	require.NoError(t, late.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := late.Write([]byte("x"))
	require.NoError(t, err)
	_, err = late.Read(make([]byte, 1))
	require.True(t, err.(net.Error).Timeout())
	select {
	case err := <-answer:
		require.Fail(t, "the black hole answered", "%v", err)
	default:
	}
	p.Mend()
	require.NoError(t, <-answer, "what it held arrives")
}

// Which connections are reset, and where, is the seed's to say.
func TestResetsAreSeeded(t *testing.T) {
	resets := func(seed uint64) (which []bool) {
		p := listen(t, Profile{Reset: 0.5, ResetWithin: 32}, seed)
		for range 32 {
			conn := dial(t, p)
			var err error
			for i := 0; i < 16 && err == nil; i++ {
				err = ping(t, conn)
			}
			which = append(which, err != nil)
			conn.Close()
		}
		hit := 0
		for _, was := range which {
			if was {
				hit++
			}
		}
		require.EqualValues(t, hit, p.Resets())
		require.EqualValues(t, 32, p.Accepted())
		return which
	}
	first := resets(7)
	require.Equal(t, first, resets(7))
	require.NotEqual(t, first, resets(8))
	require.Contains(t, first, true)
	require.Contains(t, first, false)
}

func TestSetTarget(t *testing.T) {
	p, err := Listen("127.0.0.1:1", Profile{}, 1) // where nobody listens
	require.NoError(t, err)
	defer p.Close()
	require.Error(t, attempt(t, p))
	p.SetTarget(echo(t))
	require.NoError(t, attempt(t, p))
	p.SetProfile(Profile{Reset: 1, ResetWithin: 1})
	require.Error(t, attempt(t, p))
}

// Close ends what hangs in the network.
func TestCloseInBlackHole(t *testing.T) {
	p := listen(t, Edge, 1)
	conn := dial(t, p)
	p.BlackHole()
	_, err := conn.Write(make([]byte, 1<<10))
	require.NoError(t, err)
	p.Close()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
}
