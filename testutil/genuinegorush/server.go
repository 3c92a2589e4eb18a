package genuinegorush

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"whisperpush/pushext/emulate"
	"whisperpush/testutil/nested"
)

// Build compiles the server and returns the path of its executable, which is kept: a
// minute or two the first time, under a second after that.
func Build(ctx context.Context) (string, error) {
	return nested.Module{Dir: "testutil/genuinegorush/server", Cache: "gorush"}.Build(ctx, "gorush", ".")
}

// Options are the parts of gorush's configuration that matter to its callers.
type Options struct {
	FCM  *emulate.FCM  // nil: Android is not enabled
	APNS *emulate.APNS // nil: iOS is not enabled

	Sync     bool
	Queue    string // engine; "" is local. Any other is only named, and works as local does
	MaxRetry int    // for both platforms

	Log io.Writer // takes its log; nil: only the end is kept, for errors
}

// yaml writes the configuration as an operator would.
func (o Options) yaml(credentials string) string {
	engine := o.Queue
	if engine == "" {
		engine = "local"
	}
	text := fmt.Sprintf("core:\n  sync: %v\n  shutdown_timeout: 1\n  worker_num: 16\n  queue_num: 1024\nqueue:\n  engine: %s\n", o.Sync, engine)
	text += fmt.Sprintf("android:\n  enabled: %v\n  max_retry: %d\n", o.FCM != nil, o.MaxRetry)
	if o.FCM != nil {
		text += fmt.Sprintf("  key_path: %q\n", credentials)
	}
	text += fmt.Sprintf("ios:\n  enabled: %v\n  max_retry: %d\n", o.APNS != nil, o.MaxRetry)
	if o.APNS != nil {
		text += fmt.Sprintf("  key_base64: %s\n  key_type: p8\n  key_id: %s\n  team_id: %s\n",
			base64.StdEncoding.EncodeToString(o.APNS.KeyPEM()), o.APNS.KeyID(), o.APNS.TeamID())
	}
	return text
}

// Server is a running gorush.
type Server struct {
	URL string // base of its API, on loopback

	process *nested.Process
	dir     string
	stop    sync.Once
}

// Run starts a server for the length of a test and fails the test if it cannot.
func Run(t nested.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("genuine gorush: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start builds the server if needed, starts it and returns when it answers. The context
// covers only that; Stop must be called to end the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	exe, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gorush")
	if err != nil {
		return nil, err
	}
	args, err := o.write(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir, cmd.Env = dir, environment()
	ready := make(chan string, 1)
	process, err := nested.Start("genuine gorush", cmd, o.Log, func(stdout io.Reader) error {
		if lines := bufio.NewScanner(stdout); lines.Scan() {
			ready <- lines.Text()
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &Server{process: process, dir: dir}
	if s.URL, err = nested.Await(ctx, process, ready); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// write writes the files that gorush reads, and returns the arguments that name them.
func (o Options) write(dir string) (args []string, err error) {
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, content, 0o600))
		return path
	}
	credentials := ""
	if o.FCM != nil {
		credentials = put("fcm.json", o.FCM.CredentialsJSON())
		args = append(args, "-fcm", o.FCM.Endpoint())
	}
	if o.APNS != nil {
		args = append(args, "-apns", o.APNS.URL(), "-apns-ca", put("ca.pem", o.APNS.CertificatePEM()))
	}
	return append(args, "-config", put("config.yml", []byte(o.yaml(credentials)))), err
}

// environment is this process's environment without what gorush and Google's libraries
// would read.
func environment() (env []string) {
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "GORUSH_") && !strings.HasPrefix(pair, "GOOGLE_") {
			env = append(env, pair)
		}
	}
	return env
}

// Stop ends the server, by force if it takes more than 5 s, and waits until it is gone.
// It may be called more than once.
func (s *Server) Stop() {
	s.process.Stop()
	s.stop.Do(func() { _ = os.RemoveAll(s.dir) })
}
