package node

import (
	"context"
	"time"

	"whisperpush/wnode/health"
)

// judge makes the health checks of the parts of a running node.
func (n *Node) judge() *health.Judge {
	checks := []health.Check{{Name: "node", Live: true, Run: func(context.Context) error { return n.healthy() }}}
	own := n.store == nil // a restart does not repair a database
	if !own {
		checks = append(checks, health.Check{Name: "database", Run: func(context.Context) error { return n.store.Ping() }})
	}
	if n.archive != nil {
		checks = append(checks, health.Check{Name: "archive", Live: own, Run: func(context.Context) error { return n.archive.Probe() }})
	}
	if n.push != nil {
		checks = append(checks,
			health.Check{Name: "push", Live: own, Run: func(context.Context) error { return n.push.Probe() }},
			health.Check{Name: "follower", Live: own, Run: health.Follower(n.push.Position, n.archive.Last)},
			health.Check{Name: "providers", Run: health.Providers(n.services)},
			health.Check{Name: "clock", Run: health.Clock(func(ctx context.Context) (time.Time, bool) { return ServiceClock(ctx, n.settings().Push.Provider) })},
		)
	}
	checks = append(checks, health.Check{Name: "disk", Run: health.Disk(n.settings().Node.DataDir, FreeSpace)})
	return health.New(Redact, n.notes, checks...)
}

// services are the push services; links to devices do not count.
func (n *Node) services() []health.Provider {
	var services []health.Provider
	for _, p := range n.push.Providers(time.Now()) {
		if !p.Linked {
			services = append(services, health.Provider{Name: p.Name, Failing: p.Failing, Paused: p.Paused})
		}
	}
	return services
}

// notes are what an operator should know although nothing fails.
func (n *Node) notes() []string {
	var notes []string
	if remark := n.remark(); remark != "" {
		notes = append(notes, remark)
	}
	if n.store != nil {
		if err := n.store.Ping(); err != nil {
			notes = append(notes, err.Error())
		}
	}
	if n.push == nil {
		return notes
	}
	for _, p := range n.services() {
		switch {
		case p.Failing:
			notes = append(notes, "push provider "+p.Name+" fails; the log has the cause")
		case p.Paused:
			notes = append(notes, "push provider "+p.Name+" is paused")
		}
	}
	return notes
}
