package requests

import (
	"math"
	"time"

	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// registered is the answer to a request to change a registration, granted or not.
func (p *Server) registered(rec *registry.Record, err error) answer {
	a := answer{rec: rec}
	if err != nil {
		a = p.failed(rec, err)
	}
	body := &pushwire.RegisterReply{Limits: p.limits.Load().Wire(), Standing: p.standing(rec)}
	if rec != nil {
		body.Version, body.Expires = rec.Version, uint64(rec.Expires.Unix())
	}
	a.body = body
	return a
}

func (p *Server) register(in incoming, key [33]byte, body *pushwire.Register, now time.Time) answer {
	if need := p.work(in.source); in.env.PoW(now) < need {
		rec, err := p.registry.Lookup(key)
		if err != nil {
			return p.failed(nil, err)
		}
		if rec == nil { // existing registrations are exempt
			a := p.registered(nil, registration.Refuse(pushwire.Work, "the server is busy and asks new devices for more proof of work"))
			a.body.(*pushwire.RegisterReply).Limits.PoW = need
			return a
		}
	}
	rec, errands, err := p.registry.Register(key, in.source, body, now)
	a := p.registered(rec, err)
	if err != nil {
		return a
	}
	for _, e := range errands {
		e.Server = in.key.public // the key that the device uses
		p.disp.Challenge(e)
	}
	a.body.(*pushwire.RegisterReply).Challenged = len(errands) > 0
	if rec.State == registration.Active {
		p.wake(rec.ID)
	}
	return a
}

// work is the proof of work asked of a new registration. It grows with what waits
// from its source, or with the number of sources, so that the source of a flood
// pays for it, and neither other sources nor existing registrations do.
func (p *Server) work(source whisper.Source) float64 {
	return p.limits.Load().PoW * math.Exp2(workGrowth*p.desk.Load(source))
}

func (p *Server) confirm(key [33]byte, body *pushwire.Confirm, now time.Time) answer {
	rec, err := p.registry.Confirm(key, func(code [pushwire.CodeSize]byte) bool {
		return p.keys.Load().any(func(server [33]byte) bool { return body.Proves(code, server, key) })
	}, now)
	if err == nil {
		p.wake(rec.ID)
	}
	return p.registered(rec, err)
}

// wake says that a device has shown itself and can be reached, so that what
// waits for it is sent.
func (p *Server) wake(id registration.ID) {
	if err := p.box.Renewed(id); err != nil {
		p.log.Error("the outbox of a registration cannot be read", "registration", uint64(id), "err", err)
	}
}
