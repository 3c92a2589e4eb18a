//go:build unix

package genuinepostgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"whisperpush/testutil/quietport"
)

// ErrNotInstalled says that there is no PostgreSQL on this computer.
var ErrNotInstalled = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")

const (
	// patience is how long a server may take to start or stop.
	patience = 30 * time.Second
	// superuser is the role that the cluster is made with; password is its password.
	superuser = "postgres"
	password  = "superuser's:secret@/?"
)

// Server is a PostgreSQL server. Its methods may be called concurrently, except Start,
// Stop and Kill.
type Server struct {
	o    Options
	bin  string // directory of its programs
	dir  string // of its log and its socket, and of its data unless Options.Data says otherwise
	own  string // of its data
	port int
	cred *syscall.Credential // nil: it runs as the user of this process

	mu        sync.Mutex
	databases int

	cmd   *exec.Cmd
	stdin io.Closer // closed to end it
	pid   int       // of the postmaster
}

// Options of a Server.
type Options struct {
	// Data is a directory in which the server makes its data directory, for example on a
	// disk of its own; "": next to its log. The user that the server runs as must be able
	// to reach it.
	Data string
	// SegmentMiB is the size of a file of the write-ahead log, a power of two; 0 is 16.
	SegmentMiB int
	// Settings are further settings of the server, each as name=value.
	Settings []string
}

// Start makes a cluster and starts its server, which takes a second or two. It does not
// fsync, and is small, unless settings such as "fsync=on" say otherwise.
func Start(ctx context.Context, settings ...string) (*Server, error) {
	return StartWith(ctx, Options{Settings: settings})
}

// StartWith is Start with options.
func StartWith(ctx context.Context, o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, bin: bin}
	if s.cred, err = servant(); err != nil {
		return nil, err
	}
	if err = s.place(); err == nil {
		err = s.make(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// place makes the server's directories.
func (s *Server) place() (err error) {
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return err
	}
	s.own = s.dir
	if s.o.Data != "" {
		if s.own, err = os.MkdirTemp(s.o.Data, "pg"); err != nil {
			return err
		}
	}
	return s.give(s.dir, s.own)
}

// give makes the user that the server runs as the owner of files.
func (s *Server) give(paths ...string) error {
	if s.cred == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// programs finds the directory of initdb and postgres, of the newest version.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", ErrNotInstalled
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// servant is the user that the server runs as when this process is root.
func servant() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

// make fills the directory and starts the server.
func (s *Server) make(ctx context.Context) error {
	secret := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return err
	}
	if err := s.give(secret); err != nil {
		return err
	}
	args := []string{"-D", s.data(), "-U", superuser, "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync"}
	if s.o.SegmentMiB > 0 {
		args = append(args, "--wal-segsize", strconv.Itoa(s.o.SegmentMiB))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	var err error
	for range 3 { // another process may take the port before the server does
		if s.port, err = quietport.Free(); err != nil {
			return err
		}
		if err = s.Start(ctx); err == nil {
			return nil
		}
	}
	return err
}

func (s *Server) data() string { return filepath.Join(s.own, "data") }

// Log is the path of the server's log.
func (s *Server) Log() string { return filepath.Join(s.dir, "server.log") }

// Addr is the server's address, as host:port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL returns the URL of a database for a role and its password.
func (s *Server) URL(role, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: s.Addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Superuser is the URL of the superuser for the database.
func (s *Server) Superuser(database string) string { return s.URL(superuser, password, database) }

// Database makes an empty database and returns its URL, for a role of its own that may
// connect to it and make a schema there, nothing else.
func (s *Server) Database(ctx context.Context) (string, error) {
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("db%d", s.databases)
	s.mu.Unlock()
	conn, err := pgx.Connect(ctx, s.Superuser(superuser))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	const secret = "role's:secret@/?"
	for _, statement := range []string{
		"CREATE ROLE " + name + " LOGIN PASSWORD '" + strings.ReplaceAll(secret, "'", "''") + "'",
		"CREATE DATABASE " + name,
		"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC",
		"GRANT CONNECT, CREATE ON DATABASE " + name + " TO " + name,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return "", err
		}
	}
	return s.URL(name, secret, name), nil
}

// watchdog starts the server and stops it when its standard input ends, which happens
// when the process that started it ends.
const watchdog = `"$@" </dev/null >>server.log 2>&1 &
pid=$!
echo $pid
read -r _
kill -INT $pid 2>/dev/null
wait $pid`

// Start starts the server again, after Stop or Kill, and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args := []string{"-c", watchdog, "sh", filepath.Join(s.bin, "postgres"), "-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-k", s.dir}
	for _, setting := range append([]string{"fsync=off", "max_connections=100", "shared_buffers=32MB", "logging_collector=off"}, s.o.Settings...) {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	cmd.Dir = s.dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.stdin = cmd, stdin
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		s.pid, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return errors.Join(err, s.end())
	}
	for {
		conn, err := pgx.Connect(ctx, s.Superuser(superuser))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(s.Log())
			return errors.Join(fmt.Errorf("PostgreSQL did not come up: %w: %s", err, log), s.end())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end ends the server's process and waits for it.
func (s *Server) end() error {
	if s.cmd == nil {
		return nil
	}
	s.stdin.Close()
	err := s.cmd.Wait()
	s.cmd = nil
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil // it was told to end
	}
	return err
}

// Running reports whether the server has not ended on its own, as it does when it cannot
// write its log. After that it must be halted before it starts again.
func (s *Server) Running() bool { return s.cmd != nil && alive(strconv.Itoa(s.pid)) }

// Halt stops the server, cuts its connections, and keeps its data.
func (s *Server) Halt() error { return s.end() }

// Kill kills all processes of the server at once (SIGKILL), and keeps its data. It needs
// Linux.
func (s *Server) Kill() error {
	// Once stopped, it cannot start a process after we have looked; such a process would
	// outlive it and hold its shared memory.
	if err := syscall.Kill(s.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.pid, s.pid))
	if err != nil {
		return err
	}
	all := append(strings.Fields(string(children)), strconv.Itoa(s.pid))
	for _, pid := range all {
		if n, err := strconv.Atoi(pid); err == nil {
			syscall.Kill(n, syscall.SIGKILL) // it may already be gone
		}
	}
	err = s.end()
	for deadline := time.Now().Add(patience); slices.ContainsFunc(all, alive); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("PostgreSQL's processes do not die")
		}
	}
	return err
}

// alive reports whether there is such a process, not counting one that waits to be
// reaped. The server does not start again as long as an old process holds its shared
// memory.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}

// Stop stops the server and removes its data.
func (s *Server) Stop() error {
	err := s.end()
	return errors.Join(err, os.RemoveAll(s.own), os.RemoveAll(s.dir))
}
