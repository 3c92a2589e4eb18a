package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperpush/cluster"
	"whisperpush/config"
	"whisperpush/mailserver/archive"
	"whisperpush/postgres"
	"whisperpush/pushext/pushserver"
)

// spareConnections are for everything besides the scans that read the registrations at the start, which take one
// connection for each processor.
const spareConnections = 16

// WithStore reports whether the settings keep archive and registrations in a database.
func WithStore(cfg config.Config) bool {
	return cfg.Node.Store != "" && (cfg.Mailserver.Enabled || cfg.Push.Enabled)
}

// StorePassword is the database's password, empty if no file of its own has it.
func StorePassword(cfg config.Config) (string, error) {
	if path := cfg.Node.StorePasswordFile; path != "" {
		return ReadPassword(path, "Node.StorePasswordFile (--store.password)")
	}
	return "", nil
}

// storeOptions are the database options of the settings.
func storeOptions(cfg config.Config, logger *slog.Logger) (postgres.Options, error) {
	password, err := StorePassword(cfg)
	return postgres.Options{Password: password, Connections: runtime.GOMAXPROCS(0) + spareConnections, Logger: logger}, err
}

// CheckStore returns why the database of the settings cannot be used. It changes nothing there.
func CheckStore(ctx context.Context, cfg config.Config) error {
	o, err := storeOptions(cfg, nil)
	if err == nil {
		err = postgres.Check(ctx, cfg.Node.Store, o)
	}
	if err != nil {
		return fmt.Errorf("Node.Store (--store): %w", err)
	}
	return nil
}

// openStore opens the database of the settings. leave closes it.
func openStore(cfg config.Config, logger *slog.Logger) (db *postgres.DB, leave func(), err error) {
	o, err := storeOptions(cfg, logger)
	if err != nil {
		return nil, nil, err
	}
	var presence *postgres.Presence
	if db, err = postgres.Open(context.Background(), cfg.Node.Store, o); err == nil {
		if presence, err = db.Join(context.Background()); err != nil {
			db.Close()
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("Node.Store (--store): %w", err)
	}
	for _, dir := range []string{ArchiveDir(cfg), pushDir(cfg)} {
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			logger.Warn("what the data directory has from before there was a --store is not used; wnode move takes it to a database that is empty", "directory", dir)
		}
	}
	return db, func() {
		presence.End()
		db.Close()
	}, nil
}

// openSharedArchive opens the archive in a database.
func openSharedArchive(db *postgres.DB, cfg config.Config, registry prometheus.Registerer) (Archive, error) {
	a, err := db.Archive(context.Background(), postgres.ArchiveOptions{
		Retention: retention(cfg), MaxBytes: cfg.Mailserver.MaxBytes, Registerer: registry,
	})
	if err != nil {
		return nil, err // not a nil *postgres.Archive in an interface
	}
	return a, nil
}

// retention is how long mail is kept, in the form that archives take.
func retention(cfg config.Config) time.Duration {
	if cfg.Mailserver.Retention == 0 {
		return -1 // forever
	}
	return time.Duration(cfg.Mailserver.Retention)
}

// newCluster builds this node's part in the registrations of a shared database.
func newCluster(cfg config.Config, db *postgres.DB, push pushserver.Config, taken func(pushserver.Keys)) (pushServer, error) {
	var shared *postgres.Archive
	if log, ok := push.Log.(*pushLog); ok {
		shared, _ = log.Archive.(*postgres.Archive)
	}
	server, err := cluster.New(cluster.Config{DB: db, Archive: shared, Listen: cfg.Node.ClusterAddr, Push: push, Taken: taken})
	if err != nil {
		return nil, err // not a nil *cluster.Server in an interface
	}
	return &sharedPush{Server: server, diskKey: DiskKeyFile(cfg).Path(), db: db}, nil
}

// sharedPush is a cluster.Server whose errors say what an operator must do.
type sharedPush struct {
	*cluster.Server
	diskKey string // file
	db      *postgres.DB
}

// Start implements pushServer.
func (s *sharedPush) Start(ctx context.Context) error {
	err := s.Server.Start(ctx)
	if errors.Is(err, pushserver.ErrDiskKey) {
		return fmt.Errorf("the disk key in %s is not the one that the registrations in %s were sealed with; put that one there, copied from the node that had them", s.diskKey, s.db)
	}
	return err
}

var (
	_ Archive = (*archive.Archive)(nil)
	_ Archive = (*postgres.Archive)(nil)
)
