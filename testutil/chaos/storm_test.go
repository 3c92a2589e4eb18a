//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/genuinepostgres"
	"whisperpush/testutil/wallclock"
)

// fault is one kind of thing that the storm breaks.
type fault int

const (
	killed       fault = iota // kill -9 of a node
	paused                    // SIGSTOP of a node
	cut                       // a node's way to the database swallows everything
	reset                     // a node's connections to the database are reset
	fullDatabase              // the disk of the primary or of the standby is full
	fullNode                  // a node's data directory is full, also when it starts
	wrongClock                // a node's clock is set
	faults                    // how many there are
)

// jumps are by how much clocks are set: a little more than what Whisper bears, and what takes
// messages, wake-ups and registrations to seem too old, or not to have been yet.
var jumps = []time.Duration{
	25 * time.Second, -25 * time.Second, 10 * time.Minute, -10 * time.Minute, 5 * time.Hour, -5 * time.Hour,
	49 * time.Hour, -49 * time.Hour, 45 * 24 * time.Hour, -45 * 24 * time.Hour,
}

const (
	// biting is how long a disk is full at most until somebody notices.
	biting = 15 * time.Second
	// repair is how long a database may take to be there again.
	repair = time.Minute
	// commitWithin is how long a commit may take in a database that is there.
	commitWithin = 2 * time.Second
)

// breakThings breaks one thing after the other until ctx ends, and mends it. Every kind
// comes once before one comes again. The primary is killed once, in the middle.
func (w *world) breakThings(ctx context.Context) {
	until, _ := ctx.Deadline()
	middle := time.Now().Add(time.Until(until) / 2)
	var deck []int
	for ctx.Err() == nil {
		if len(deck) == 0 {
			deck = w.rng.Perm(int(faults))
		}
		what := fault(deck[0])
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		length := time.Second + time.Duration(w.rng.Int64N(int64(6*time.Second)))
		choice := w.rng.IntN(1 << 16)
		w.broken.Add(1)
		if w.standby != nil && time.Now().After(middle) {
			w.failOver()
		} else {
			deck = deck[1:]
			w.breakThing(what, n, length, choice)
		}
		pause(ctx, time.Second+time.Duration(w.rng.Int64N(int64(4*time.Second))))
	}
}

func (w *world) breakThing(what fault, n *node, length time.Duration, choice int) {
	switch what {
	case killed:
		fmt.Printf("cluster: kill -9 of %s, for %v\n", n.name, length)
		n.kill()
		pause(w.t.Context(), length)
		w.exchange(n)
		require.NoError(w.t, n.start(w.password))
	case paused:
		fmt.Printf("cluster: SIGSTOP of %s, for %v\n", n.name, length)
		n.signal(syscall.SIGSTOP)
		pause(w.t.Context(), length)
		n.signal(syscall.SIGCONT)
	case cut:
		fmt.Printf("cluster: %s loses its database, for %v\n", n.name, length)
		n.proxy.BlackHole()
		pause(w.t.Context(), length)
		n.proxy.Mend()
	case reset:
		fmt.Printf("cluster: connections of %s to its database are reset\n", n.name)
		n.proxy.ResetAll()
	case fullDatabase:
		w.fillDatabase(length, choice%2 == 1, choice/2%2 == 1)
	case fullNode:
		w.fillNode(n, length, choice%2 == 1)
	case wrongClock:
		w.setClock(n, length, jumps[choice%len(jumps)])
	}
}

// exchange has a node that does not run go on with the other version, as in an upgrade, or in one that is taken back.
func (w *world) exchange(n *node) {
	switch {
	case w.earlier == "":
	case n.earlier == "":
		n.earlier = w.earlier
		fmt.Printf("cluster: %s goes back to the earlier version\n", n.name)
	default:
		n.earlier = ""
		fmt.Printf("cluster: %s is upgraded\n", n.name)
	}
}

// failOver kills the primary and promotes the standby.
func (w *world) failOver() {
	from := time.Now()
	w.away.begin(from)
	require.NoError(w.t, w.primary.Kill())
	require.NoError(w.t, w.standby.Promote(w.t.Context()))
	w.mu.Lock()
	w.primary, w.standby = w.standby, nil
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.proxy.SetTarget(w.primary.Addr())
		n.proxy.ResetAll()
	}
	to := time.Now()
	w.away.end(to)
	fmt.Printf("cluster: kill -9 of the primary; the standby took over in %v\n", to.Sub(from).Round(time.Millisecond))
}

// fillDatabase fills the disk of a server until that notices and so much longer, frees it,
// and starts again what did not survive. A table that cannot grow is an error of PostgreSQL's;
// if its log has to, too, it ends, whatever it is doing.
func (w *world) fillDatabase(length time.Duration, standby, log bool) {
	name, server := "the primary", w.primary
	if standby && w.standby != nil {
		name, server = "the standby", w.standby
	}
	disk := w.disks[server]
	if disk == nil {
		fmt.Printf("cluster: the disk of %s is not filled, for it is not one of its own\n", name)
		return
	}
	from := time.Now()
	w.away.begin(from)
	before := w.complaints(server)
	require.NoError(w.t, disk.Fill(0))
	if log || server == w.standby {
		w.growLog()
	}
	for time.Since(from) < biting && w.complaints(server) == before && w.t.Context().Err() == nil {
		pause(w.t.Context(), 50*time.Millisecond)
	}
	noticed := time.Since(from)
	pause(w.t.Context(), length)
	complaints, died := w.complaints(server)-before, !server.Running()
	require.NoError(w.t, disk.Free())
	w.mend()
	to := time.Now()
	w.away.end(to)
	w.full += complaints
	fmt.Printf("cluster: the disk of %s was full for %v: it complained first after %v, %d times, died: %v; commits went on after %v\n",
		name, length+noticed, noticed.Round(time.Millisecond), complaints, died, to.Sub(from).Round(time.Millisecond))
}

// growLog has the primary write more of its log than is left of the file that it writes.
func (w *world) growLog() {
	ctx, cancel := context.WithTimeout(w.t.Context(), commitWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.primary.Superuser("postgres"))
	require.NoError(w.t, err)
	defer conn.Close(context.Background())
	conn.Exec(ctx, "SELECT pg_logical_emit_message(false, 'storm', repeat('x', 3 << 20))") // it may be the last one
}

// complaints counts how often a server has said that its disk is full.
func (w *world) complaints(server *genuinepostgres.Server) int {
	log, err := os.ReadFile(server.Log())
	require.NoError(w.t, err)
	return strings.Count(string(log), "No space left on device")
}

// mend starts the servers that died, and returns when the database commits.
func (w *world) mend() {
	for deadline := time.Now().Add(repair); ; {
		for _, server := range []*genuinepostgres.Server{w.primary, w.standby} {
			if server == nil || server.Running() {
				continue
			}
			require.NoError(w.t, server.Halt())
			require.NoError(w.t, server.Start(w.t.Context()))
		}
		err := w.commit()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(w.t, err, "the database does not commit %v after there was space again", repair)
		}
		pause(w.t.Context(), 100*time.Millisecond)
	}
}

// commit changes something in the database, which the standby has to have as well.
func (w *world) commit() error {
	ctx, cancel := context.WithTimeout(w.t.Context(), commitWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.primary.Superuser("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "DROP TABLE IF EXISTS storm; CREATE TABLE storm (n int)")
	return err
}

// fillNode fills the data directory of a node, which has everything that matters in the
// database, so a node that runs does not mind. One that was killed says why it does not start,
// and does when there is space.
func (w *world) fillNode(n *node, length time.Duration, restart bool) {
	if n.disk == nil {
		fmt.Printf("cluster: the disk of %s is not filled, for it is not one of its own\n", n.name)
		return
	}
	fmt.Printf("cluster: the disk of %s is full for %v, restart: %v\n", n.name, length, restart)
	require.NoError(w.t, n.disk.Fill(0))
	if restart {
		n.kill()
		require.ErrorContains(w.t, n.start(w.password), "is full; make room")
	}
	pause(w.t.Context(), length)
	require.NoError(w.t, n.disk.Free())
	if restart {
		require.NoError(w.t, n.start(w.password))
	}
}

// setClock sets the clock of a node wrong for a while. What an earlier version does then is
// not this one's to answer for.
func (w *world) setClock(n *node, length, by time.Duration) {
	for i := 0; n.earlier != "" && i < len(w.nodes); i++ {
		n = w.nodes[i]
	}
	err := wallclock.Shift(n.pid(), by)
	if errors.Is(err, wallclock.ErrUnsupported) {
		fmt.Printf("cluster: the clock of %s is not set: %v\n", n.name, err)
		return
	}
	require.NoError(w.t, err)
	fmt.Printf("cluster: the clock of %s is wrong by %v, for %v\n", n.name, by, length)
	pause(w.t.Context(), length)
	require.NoError(w.t, wallclock.Shift(n.pid(), 0))
}
