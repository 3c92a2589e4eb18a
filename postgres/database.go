package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schema is the PostgreSQL schema that holds everything.
const Schema = "whisperpush"

// MinVersion is the oldest PostgreSQL that is accepted, as server_version_num.
const MinVersion = 140000

// Defaults of Options.
const (
	DefaultPatience    = 10 * time.Second
	DefaultConnections = 16
)

// sessionSettings is what a session asks of the server, unless the URL says otherwise.
// A node that is frozen while it holds a lock must not stop the others, and a
// connection that is cut must not keep its locks.
var sessionSettings = map[string]string{
	"application_name":                    "wnode",
	"statement_timeout":                   "30s",
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "60s", // a scan may be slow
	"tcp_user_timeout":                    "15s",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
}

const (
	connectTimeout = 5 * time.Second
	// pingPatience is how long Ping waits for an answer.
	pingPatience = 2 * time.Second
	// firstPause and longestPause are the first and the longest pause before a failed
	// attempt is repeated; the pause doubles.
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// Options of Open. The zero value is usable.
type Options struct {
	// Password is the role's. It takes precedence over one in the URL, in PGPASSWORD or
	// in the file that PGPASSFILE names. Empty means one of those.
	Password string
	// Patience is how long failed attempts are repeated while the database is away. 0
	// means DefaultPatience.
	Patience time.Duration
	// Connections bounds the connections of the pool. An open archive, each open store
	// that is not a shard's, and each Presence have one more. 0 means
	// DefaultConnections.
	Connections int
	// Logger may be nil.
	Logger *slog.Logger
}

// DB is a database that was checked and can be used. Its methods may be called
// concurrently.
type DB struct {
	pool     *pgxpool.Pool
	config   *pgxpool.Config
	secrets  []string // never in an error
	patience time.Duration
	log      *slog.Logger
}

// Open connects to the database that the URL names (postgres://role@host/database, see
// libpq's manual for more), checks that it can be used and brings its tables to this
// version. It fails at once with one of this package's errors if the server is away.
func Open(ctx context.Context, address string, o Options) (*DB, error) {
	return connect(ctx, address, o, func(ctx context.Context, d *DB) error { return d.migrate(ctx) })
}

// Check is Open without changing anything: it says whether Open would accept the
// database.
func Check(ctx context.Context, address string, o Options) error {
	d, err := connect(ctx, address, o, func(ctx context.Context, d *DB) error {
		err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
			if _, err := d.version(ctx, tx); err != nil {
				return err
			}
			return errUndo
		})
		if errors.Is(err, errUndo) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	d.Close()
	return nil
}

// errUndo ends a transaction that must change nothing.
var errUndo = errors.New("undo")

// connect opens a database and prepares it.
func connect(ctx context.Context, address string, o Options, prepare func(context.Context, *DB) error) (*DB, error) {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := parse(address, o)
	if err != nil {
		return nil, err
	}
	d := &DB{config: config, patience: o.Patience, log: o.Logger, secrets: secretsOf(config.ConnConfig.Password)}
	if d.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("open %s: %w", d, d.fault(err))
	}
	ctx, cancel := context.WithTimeout(ctx, max(o.Patience, 2*connectTimeout))
	defer cancel()
	if err = d.check(ctx); err == nil {
		err = prepare(ctx, d)
	}
	if err != nil {
		d.pool.Close()
		return nil, fmt.Errorf("open %s: %w", d, d.fault(err))
	}
	return d, nil
}

// Ping returns why the database cannot be used now, nil if it can.
func (d *DB) Ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), pingPatience)
	defer cancel()
	var readOnly bool
	err := d.pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only') = 'on'").Scan(&readOnly)
	switch {
	case err != nil:
		return d.fault(err)
	case readOnly:
		return ErrReadOnly
	}
	return nil
}

// secretsOf lists the forms in which a password could appear in a text.
func secretsOf(password string) []string {
	if password == "" {
		return nil
	}
	forms := []string{password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:]}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// parse reads the URL. Its errors do not quote it.
func parse(address string, o Options) (*pgxpool.Config, error) {
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		return nil, fmt.Errorf("%w: it does not begin with postgres://", ErrURL)
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("%w: give postgres://ROLE@HOST:PORT/DATABASE?sslmode=verify-full; special characters as %%xx, and the files that it names must be there", ErrURL)
	}
	c := config.ConnConfig
	if o.Password != "" {
		c.Password = o.Password
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	for name, value := range sessionSettings {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	config.MaxConns = int32(o.Connections)
	return config, nil
}

// String names the database for people, without the password.
func (d *DB) String() string {
	c := d.config.ConnConfig
	u := url.URL{Scheme: "postgres", User: url.User(c.User), Host: fmt.Sprintf("%s:%d", c.Host, c.Port), Path: "/" + c.Database}
	return u.String()
}

// check refuses a server that cannot keep this package's promises.
func (d *DB) check(ctx context.Context) error {
	var version int
	var name, encoding, readOnly, fsync, fullPages string
	var standby bool
	err := d.pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), current_setting('transaction_read_only'), pg_is_in_recovery(),
		current_setting('fsync'), current_setting('full_page_writes')`).
		Scan(&version, &name, &encoding, &readOnly, &standby, &fsync, &fullPages)
	switch {
	case err != nil:
		return err
	case version < MinVersion:
		return fmt.Errorf("%w: it is PostgreSQL %s, and %d is the oldest that will do", ErrServer, name, MinVersion/10000)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database's encoding is %s; make one with ENCODING 'UTF8'", ErrServer, encoding)
	case standby:
		return fmt.Errorf("%w: the server is a standby; give the primary's address, or several hosts and target_session_attrs=read-write", ErrReadOnly)
	case readOnly == "on":
		return fmt.Errorf("%w: default_transaction_read_only is on for this role, database or server", ErrReadOnly)
	}
	if fsync == "off" || fullPages == "off" {
		d.log.Warn("the database server does not write to its disk what it commits: a power cut loses mail and registrations", "fsync", fsync, "full_page_writes", fullPages)
	}
	return nil
}

// Close closes the connections. Stores and archives must be closed before.
func (d *DB) Close() { d.pool.Close() }

// again calls f until it succeeds, fails for good, or the database has been away for
// the length of patience. f must allow being repeated when it is unknown whether it
// took effect.
func (d *DB) again(ctx context.Context, f func(ctx context.Context) error) error {
	within, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	var before error // of the attempt before
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := d.fault(f(within))
		if within.Err() != nil && before != nil {
			err = before // says more than that the time is up
		}
		before = err
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !mayComeBack(err):
			return err
		}
		if errors.Is(err, ErrReadOnly) {
			d.pool.Reset() // another server may be the primary now
		}
		select {
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		case <-time.After(pause):
		}
	}
}

// session opens a connection that belongs to its caller, for long uses: locks and
// notifications.
func (d *DB) session(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, d.config.ConnConfig.Copy())
	return conn, d.fault(err)
}

// leave closes a session without waiting for a server that is away.
func leave(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn.Close(ctx)
}
