package wnode

import (
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// requests hands each packet 126 to whom it is for: what is on the push topic to the push extension, everything
// else to the mail server, which reads forms that are no envelope too. With push off, push requests go nowhere:
// they are counted, and the mail server's time is not spent on them.
type requests struct {
	push, mail whisper.RequestHandler // nil: off

	counted *prometheus.CounterVec // by destination: push, mail, ignored
	topic   whisper.Topic          // the push topic
}

func newRequests(registerer prometheus.Registerer) *requests {
	r := &requests{
		topic: pushwire.Topic(),
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "whisperpush_wnode_requests_total",
			Help: "Packets 126 by destination: push, mail, or ignored because what they ask for is off.",
		}, []string{"destination"}),
	}
	for _, destination := range []string{"push", "mail", "ignored"} {
		r.counted.WithLabelValues(destination)
	}
	registerer.MustRegister(r.counted)
	return r
}

// HandleRequest implements whisper.RequestHandler.
func (r *requests) HandleRequest(peer enode.ID, payload []byte) {
	name, handler := "mail", r.mail
	if env, err := whisper.DecodeEnvelope(payload); err == nil && env.Topic == r.topic {
		name, handler = "push", r.push
	}
	if handler == nil {
		r.counted.WithLabelValues("ignored").Inc()
		return
	}
	r.counted.WithLabelValues(name).Inc()
	handler.HandleRequest(peer, payload)
}
