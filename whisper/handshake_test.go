package whisper

import (
	"math"
	"testing"
	"testing/synctest"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/stretchr/testify/require"
)

func TestDecodeStatus(t *testing.T) {
	bits := math.Float64bits
	bloom := TopicFor("x").Bloom()
	full := FullBloom()
	for name, test := range map[string]struct {
		payload []byte
		want    status
		refused bool
	}{
		"version alone":         {payload: encode(t, []any{uint64(6)}), want: status{bloom: full}},
		"no bloom":              {payload: encode(t, []any{uint64(6), bits(0.5)}), want: status{0.5, full, false}},
		"empty bloom":           {payload: encode(t, []any{uint64(6), bits(0.5), []byte{}}), want: status{0.5, full, false}},
		"light":                 {payload: encode(t, []any{uint64(6), bits(0.5), bloom[:], true}), want: status{0.5, bloom, true}},
		"status-go":             {payload: encode(t, []any{uint64(6), bits(0.5), bloom[:], false, true}), want: status{0.5, bloom, false}},
		"a list as the fifth":   {payload: encode(t, []any{uint64(6), bits(0.5), bloom[:], false, []any{true}}), want: status{0.5, bloom, false}},
		"nothing":               {refused: true},
		"empty list":            {payload: []byte{0xc0}, refused: true},
		"another version":       {payload: encode(t, []any{uint64(5)}), refused: true},
		"a string":              {payload: encode(t, "status"), refused: true},
		"infinite work":         {payload: encode(t, []any{uint64(6), bits(math.Inf(1))}), refused: true},
		"negative work":         {payload: encode(t, []any{uint64(6), bits(-1)}), refused: true},
		"no number":             {payload: encode(t, []any{uint64(6), bits(math.NaN())}), refused: true},
		"bloom of 63 bytes":     {payload: encode(t, []any{uint64(6), bits(1), bloom[:63]}), refused: true},
		"bloom of 65 bytes":     {payload: encode(t, []any{uint64(6), bits(1), append(bloom[:], 0)}), refused: true},
		"light beyond a bool":   {payload: encode(t, []any{uint64(6), bits(1), bloom[:], uint64(2)}), refused: true},
		"list in place of work": {payload: encode(t, []any{uint64(6), []any{}}), refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeStatus(test.payload)
			if test.refused {
				require.ErrorIs(t, err, ErrHandshake)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			again, err := decodeStatus(got.encode())
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestGenuineStatus(t *testing.T) {
	for _, c := range vectors[struct {
		Name    string
		Code    uint64
		Payload hexutil.Bytes
		PoW     powVector
		Bloom   hexutil.Bytes
		Light   bool
	}](t, "packets.json") {
		if c.Code != StatusPacket {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			got, err := decodeStatus(c.Payload)
			require.NoError(t, err)
			want := status{math.Float64frombits(uint64(c.PoW.Bits)), FullBloom(), c.Light}
			if len(c.Bloom) > 0 {
				want.bloom = Bloom(c.Bloom)
				require.Equal(t, []byte(c.Payload), got.encode(), "what we send is what the genuine node sends")
			}
			require.Equal(t, want, got)
		})
	}
}

func TestHandshakeRefusesOtherPackets(t *testing.T) {
	n := startNode(t, Config{})
	for name, p := range map[string]packet{
		"messages first": {MessagesPacket, []byte{0xc0}},
		"large status":   {StatusPacket, make([]byte, maxStatusPacket+1)},
		"bad status":     {StatusPacket, []byte{0xc0}},
	} {
		t.Run(name, func(t *testing.T) {
			r := dial(t, n)
			go func() {
				for msg, err := r.pipe.ReadMsg(); err == nil; msg, err = r.pipe.ReadMsg() {
					msg.Discard()
				}
			}()
			writePacket(&pipeLink{pipe: r.pipe}, p.code, p.payload)
			require.ErrorIs(t, <-r.run, ErrHandshake)
		})
	}
}

func TestHandshakeWithASilentPeerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, Config{})
		r := dial(t, n)
		require.ErrorIs(t, <-r.run, ErrHandshake)
		n.Stop()
	})
}

func TestStopEndsLinksInEveryState(t *testing.T) {
	n := startNode(t, Config{})
	silent, linked := dial(t, n), connect(t, n)
	_, err := silent.pipe.ReadMsg()
	require.NoError(t, err)
	n.Stop()
	require.Error(t, <-silent.run)
	require.Error(t, <-linked.run)
	require.ErrorIs(t, <-dial(t, n).run, ErrNotRunning)
	n.Stop()
	require.Error(t, n.Start())
	require.ErrorIs(t, n.Post(t.Context(), seal(t, Draft{})), ErrNotRunning)
	require.ErrorIs(t, n.WaitPeer(t.Context(), linked.id), ErrNotRunning)
	_, err = n.Subscribe(Filter{Key: testKey}, 1)
	require.ErrorIs(t, err, ErrNotRunning)
}

func TestLightNodesMayRefuseEachOther(t *testing.T) {
	light := status{bloom: FullBloom(), light: true}.encode()
	r := connectAs(t, startNode(t, Config{LightNode: true}), light)
	r.close()

	n := startNode(t, Config{LightNode: true, RestrictLight: true})
	connect(t, n)
	r = dial(t, n)
	msg, err := r.pipe.ReadMsg()
	require.NoError(t, err)
	require.NoError(t, msg.Discard())
	r.send(StatusPacket, light)
	require.ErrorIs(t, <-r.run, ErrHandshake)
}
