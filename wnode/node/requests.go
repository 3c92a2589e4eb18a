package node

import (
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/mailserver"
	"whisperpush/pushext/pushserver"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
	"whisperpush/wnode/door"
)

// requests hands each packet 126, and each request through the door, to its server: what is on the push topic goes to
// the push server, everything else to the mailserver, which also reads forms that are not envelopes. With push off, push
// requests are only counted, and the mailserver spends no time on them.
type requests struct {
	push pushHandler // nil: off
	mail mailHandler // nil: off
	// answered is called for packets that get no answer. It is set before the node starts; nil: nobody wants to know.
	answered func(peer enode.ID)

	counted *prometheus.CounterVec // by destination: push, mail, ignored
	topic   whisper.Topic          // the push topic
}

// pushHandler gets requests for push.
type pushHandler interface {
	HandleEnvelope(peer enode.ID, env *whisper.Envelope)
	HandleCall(from pushserver.Caller, env *whisper.Envelope)
}

// mailHandler gets requests for mail, and packets that are not envelopes.
type mailHandler interface {
	HandleEnvelope(peer enode.ID, env *whisper.Envelope)
	HandlePlain(peer enode.ID, payload []byte)
	Handle(from mailserver.Caller, env *whisper.Envelope)
}

func newRequests(registerer prometheus.Registerer) *requests {
	r := &requests{
		topic: pushwire.Topic(),
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "whisperpush_wnode_requests_total",
			Help: "Requests by destination: push, mail, or ignored because what they ask for is off.",
		}, []string{"destination"}),
	}
	for _, destination := range []string{"push", "mail", "ignored"} {
		r.counted.WithLabelValues(destination)
	}
	registerer.MustRegister(r.counted)
	return r
}

// HandleRequest implements whisper.RequestHandler. It decodes a packet for either server.
func (r *requests) HandleRequest(peer enode.ID, payload []byte) {
	env, err := whisper.DecodeEnvelope(payload)
	destination := "mail"
	switch {
	case err == nil && env.Topic == r.topic && r.push != nil:
		destination = "push"
		r.push.HandleEnvelope(peer, env)
	case err == nil && env.Topic == r.topic, r.mail == nil:
		destination = "ignored"
		if r.answered != nil {
			r.answered(peer)
		}
	case err == nil:
		r.mail.HandleEnvelope(peer, env)
	default:
		r.mail.HandlePlain(peer, payload)
	}
	r.counted.WithLabelValues(destination).Inc()
}

// Request implements door.Rooms. It does the same for what comes through the door, which is always an envelope.
func (r *requests) Request(from *door.Caller, env *whisper.Envelope) {
	destination := "mail"
	switch {
	case env.Topic == r.topic && r.push != nil:
		destination = "push"
		r.push.HandleCall(from, env)
	case env.Topic == r.topic, r.mail == nil:
		destination = "ignored"
		from.Answered()
	default:
		r.mail.Handle(from, env)
	}
	r.counted.WithLabelValues(destination).Inc()
}
