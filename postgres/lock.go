package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/durable"
)

// lockClass is the first half of the advisory lock of a store; the second is the store's id.
const lockClass = 0x77707573 // "wpus"

// sessionLock is a lock held by a session of its own. It tells a second process that there is
// a first one, and no more: when its connection is cut, the lock is free although its holder
// does not know. Terms keep the two apart.
type sessionLock struct {
	db     *DB
	class  int32
	id     int
	shared bool          // others may hold it too, if they take it shared
	gone   chan struct{} // closed when the lock's connection is lost, after which the lock is not taken again; nil: it is taken again
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// lock takes the lock of a store, or returns durable.ErrLocked.
func (d *DB) lock(ctx context.Context, id int) (*sessionLock, error) {
	l := &sessionLock{db: d, class: lockClass, id: id}
	return l, l.begin(ctx)
}

// begin takes the lock, or returns durable.ErrLocked.
func (l *sessionLock) begin(ctx context.Context) error {
	var conn *pgx.Conn
	err := l.db.again(ctx, func(ctx context.Context) (err error) {
		conn, err = l.take(ctx)
		return err
	})
	if err != nil {
		return err
	}
	ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(func() { l.keep(ctx, conn) })
	return nil
}

// take opens a session that holds the lock.
func (l *sessionLock) take(ctx context.Context) (*pgx.Conn, error) {
	conn, err := l.db.session(ctx)
	if err != nil {
		return nil, err
	}
	var got bool
	try := "SELECT pg_try_advisory_lock($1, $2)"
	if l.shared {
		try = "SELECT pg_try_advisory_lock_shared($1, $2)"
	}
	if err = conn.QueryRow(ctx, try, l.class, int32(l.id)).Scan(&got); err == nil && !got {
		err = durable.ErrLocked
	}
	if err != nil {
		leave(conn)
		return nil, err
	}
	return conn, nil
}

// keep holds the lock until ctx ends, and takes it again when its connection is lost. While
// nobody or somebody else holds it, the terms ensure that only one writes.
func (l *sessionLock) keep(ctx context.Context, conn *pgx.Conn) {
	for {
		if conn != nil {
			_, err := conn.WaitForNotification(ctx) // none comes: this returns when the connection ends
			if ctx.Err() == nil {
				l.db.log.Warn("a connection that holds a lock is lost", "err", l.db.fault(err))
			} else {
				unlock(conn)
			}
			leave(conn)
		}
		if ctx.Err() != nil {
			return
		}
		if l.gone != nil {
			close(l.gone)
			return
		}
		var err error
		if conn, err = l.take(ctx); err == nil {
			continue
		}
		conn = nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(longestPause):
		}
	}
}

// unlock returns when the lock is free: after a session just ends, the server may take a while
// to free its locks.
func unlock(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // if it fails, the end of the session does it
}

// release gives the lock back.
func (l *sessionLock) release() {
	l.cancel()
	l.wg.Wait()
}
