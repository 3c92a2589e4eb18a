package requests

import (
	"time"

	"whisperpush/pushext/pushserver/outbox"
	"whisperpush/pushext/pushserver/registration"
	"whisperpush/pushext/pushserver/registry"
	"whisperpush/pushext/pushwire"
)

// standing tells a device the server's time and log, and the
// epoch of its registration.
func (p *Server) standing(rec *registry.Record) pushwire.Standing {
	s := pushwire.Standing{Now: registration.Millis(time.Now()), Log: p.logID()}
	if rec != nil && rec.Live() {
		s.Epoch = p.registry.Epoch(rec)
	}
	return s
}

func (p *Server) status(in incoming, key [33]byte, detail *pushwire.StatusDetail) answer {
	rec, err := p.registry.Lookup(key)
	if err != nil {
		return p.failed(nil, err)
	}
	if rec == nil {
		a := p.failed(nil, errNotRegistered)
		a.body = &pushwire.StatusReply{Limits: p.limits.Load().Wire(), Standing: p.standing(nil)}
		return a
	}
	body := &pushwire.StatusReply{
		Version: rec.Version, Expires: uint64(rec.Expires.Unix()), Plain: rec.Plain,
		Revoked: rec.Revoked, Limits: p.limits.Load().Wire(), Standing: p.standing(rec),
	}
	doubts := p.disp.Doubts(rec.Registration)
	for i := range rec.Routes {
		s := pushwire.RouteStatus{Provider: rec.Routes[i].Provider, State: pushwire.Waiting}
		if rec.Routes[i].Proven {
			s.State = pushwire.Active
		}
		if doubts != nil && !doubts[i].Since.IsZero() {
			s.Doubt, s.Reason = uint64(doubts[i].Since.Unix()), doubts[i].Reason
		}
		body.Routes = append(body.Routes, s)
	}
	for i := range rec.Channels {
		c := &rec.Channels[i]
		body.Channels = append(body.Channels, pushwire.Channel{Topic: c.Topic, Mode: c.Mode, MutedUntil: uint64(c.Muted)})
	}
	told := *rec
	if rec.Live() {
		box, err := p.box.Status(rec.ID)
		if err != nil {
			return p.failed(rec, err)
		}
		body.Seq = box.Seq
		if detail != nil {
			if detail.Test && rec.Plain && p.limits.Load().SealedOnly {
				return p.failed(rec, registration.Refuse(pushwire.Disabled, registry.SealedOnly))
			}
			if detail.Test {
				p.heard(in.from, in.key, rec) // so that its own link is tested too
			}
			if detail.Test && rec.State == registration.Active && !p.disp.Test(rec.Registration) {
				return p.failed(rec, registration.Refuse(pushwire.Limit, "test pushes were asked for too often; wait ten minutes"))
			}
			body.Delivery = p.delivery(rec, box)
		}
		switch {
		case told.Reason != "":
		case rec.Plain && p.limits.Load().SealedOnly:
			told.Reason = registry.SealedOnly
		case box.Silenced:
			told.Reason = "silent after too many wake-ups without a fetch; fetch to be woken again"
		case box.Reason != "":
			told.Reason = "a wake-up failed: " + box.Reason
		}
	}
	return answer{rec: &told, body: body}
}

// delivery describes how well wake-ups reach a device.
func (p *Server) delivery(rec *registry.Record, box outbox.Status) *pushwire.Delivery {
	seconds := func(at time.Time) uint64 {
		if at.IsZero() {
			return 0
		}
		return uint64(at.Unix())
	}
	tested, left := p.disp.Trials(rec.Registration)
	d := &pushwire.Delivery{
		Fetched: seconds(box.Fetched), Silenced: box.Silenced, Unread: uint64(box.Unread), Pending: uint64(box.Pending), Tests: uint64(left),
	}
	for i := range rec.Routes {
		d.Routes = append(d.Routes, pushwire.RouteDelivery{
			Accepted: seconds(box.Accepted[rec.Routes[i].Provider]), Budget: uint64(tested[i].Budget),
			Tested: seconds(tested[i].Asked), Outcome: tested[i].Outcome, Reason: tested[i].Reason,
		})
	}
	return d
}
