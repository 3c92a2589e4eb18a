package whisper

import (
	"context"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// faulty panics in everything that a packet of a stranger reaches.
type faulty struct{}

func (faulty) HandleRequest(enode.ID, []byte)         { panic("request") }
func (faulty) HandleDirect(enode.ID, *Envelope)       { panic("direct") }
func (faulty) HandleRequestComplete(enode.ID, []byte) { panic("request complete") }

//lint:ignore SA5000 the panic is the point, and it is to be a runtime error
func (faulty) Archive(context.Context, []*Envelope, func(error)) { var m map[int]int; m[0] = 1 }

// A panic in any handler is counted, and costs neither the process nor the link.
func TestPanicInEachHandler(t *testing.T) {
	n := startNode(t, Config{Requests: faulty{}, Direct: faulty{}, Archiver: faulty{}, Registerer: prometheus.NewRegistry()})
	r := connect(t, n)
	n.Trust(r.id)
	e := seal(t, Draft{PoW: DefaultMinPoW})
	r.sendEnvelopes(e)
	r.send(RequestPacket, e.Raw())
	r.send(DirectPacket, e.Raw())
	r.send(RequestCompletePacket, encode(t, []byte("end")))
	r.send(PoWPacket, encode(t, uint64(0))) // the link's reader comes to it, so it has done the others
	require.Eventually(t, func() bool {
		for _, name := range []string{"messages", "request", "direct", "request_complete"} {
			if testutil.ToFloat64(n.metrics.panics.WithLabelValues(name)) != 1 {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	require.Len(t, n.Peers(), 1, "the link stays")
}
