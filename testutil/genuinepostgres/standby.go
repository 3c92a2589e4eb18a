//go:build unix

package genuinepostgres

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/testutil/quietport"
)

// Standby starts a second server with all of the first one's data. From then on the first
// one commits nothing that the second one does not have: it is a synchronous standby.
func (s *Server) Standby(ctx context.Context) (*Server, error) { return s.StandbyOn(ctx, s.o.Data) }

// StandbyOn is Standby with the data in another directory than the primary's.
func (s *Server) StandbyOn(ctx context.Context, data string) (*Server, error) {
	standby := &Server{o: s.o, bin: s.bin, cred: s.cred}
	standby.o.Data = data
	err := standby.place()
	if err == nil {
		err = standby.follow(ctx, s)
	}
	if err != nil {
		return nil, errors.Join(err, standby.Stop())
	}
	return standby, nil
}

// follow copies the primary and starts following it.
func (s *Server) follow(ctx context.Context, primary *Server) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_basebackup"), "-d", primary.Superuser(superuser), "-D", s.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	var err error
	if s.port, err = quietport.Free(); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, primary.Superuser(superuser))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for synchronous := false; !synchronous; {
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')").Scan(&synchronous); err != nil {
			return fmt.Errorf("the standby does not follow: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Promote makes a standby the primary, and waits until it is.
func (s *Server) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.Superuser(superuser))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT pg_promote(true, 30)")
	if err == nil {
		_, err = conn.Exec(ctx, "ALTER SYSTEM RESET synchronous_standby_names")
	}
	if err == nil {
		_, err = conn.Exec(ctx, "SELECT pg_reload_conf()")
	}
	return err
}
