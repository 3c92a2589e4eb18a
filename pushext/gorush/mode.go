package gorush

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/singleflight"

	"whisperpush/pushext"
	"whisperpush/pushext/attempt"
)

const (
	// trustFor is how long a good reading of gorush's configuration counts while gorush's
	// connections last. The configuration changes only by a restart, which breaks them
	// unless there is a proxy in between.
	trustFor = time.Minute

	// distrustFor is how long a bad reading counts; no pushes are sent meanwhile.
	distrustFor = time.Second

	localQueue = "local" // queue.engine of a gorush that can be in sync mode
)

// mode keeps what a gorush server says about its configuration. In sync mode gorush
// answers after the push service has, otherwise before it has sent anything; the answers
// look the same. So an answer without a failure is believed only if the configuration,
// read after the answer's connection was opened, says sync mode.
type mode struct {
	client   *http.Client
	url      string
	platform string
	timeout  time.Duration
	trace    *httptrace.ClientTrace
	flight   singleflight.Group

	mu     sync.Mutex // guards the following fields
	latest reading
	opened time.Time // when the youngest connection was
}

// reading is one look at the configuration.
type reading struct {
	asked   time.Time
	retries int             // how often gorush itself repeats what failed
	refuse  pushext.Verdict // the verdict of every push; without a reason nothing is wrong
	help    error           // why, for the operator
}

func newMode(client *http.Client, url, platform string, timeout time.Duration) *mode {
	m := &mode{client: client, url: url, platform: platform, timeout: timeout}
	m.trace = &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			m.mu.Lock()
			m.opened = time.Now()
			m.mu.Unlock()
		}
	}}
	return m
}

// traced returns ctx for a push, so that mode learns which connection it uses.
func (m *mode) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, m.trace)
}

// before returns the reading to go by before a push is sent.
func (m *mode) before(ctx context.Context, now time.Time) (reading, error) {
	m.mu.Lock()
	trust := trustFor
	if m.latest.refuse.Reason != "" {
		trust = distrustFor
	}
	m.mu.Unlock()
	return m.since(ctx, now.Add(-trust))
}

// after is the reading to go by when a push was answered: one from after all connections
// were opened.
func (m *mode) after(ctx context.Context) (reading, error) {
	m.mu.Lock()
	opened := m.opened
	m.mu.Unlock()
	return m.since(ctx, opened)
}

// since is a reading that was asked for at earliest or later. Any number of pushes share
// one request.
func (m *mode) since(ctx context.Context, earliest time.Time) (reading, error) {
	for {
		m.mu.Lock()
		latest := m.latest
		m.mu.Unlock()
		if !latest.asked.IsZero() && !latest.asked.Before(earliest) {
			return latest, nil
		}
		select {
		case <-m.flight.DoChan("", m.read):
		case <-ctx.Done():
			return reading{}, ctx.Err()
		}
	}
}

// read runs apart from any one push, which may be cancelled.
func (m *mode) read() (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), m.timeout)
	defer cancel()
	r := m.ask(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest = r
	return nil, nil
}

func (m *mode) ask(ctx context.Context) reading {
	asked := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil { // the URL was judged at start
		return reading{asked: asked, refuse: attempt.Failed("gorush", err), help: errors.New("ConfigURL cannot be asked")}
	}
	answer, err := attempt.Do(m.client, req)
	if err != nil {
		v := attempt.Failed("gorush", err)
		return reading{asked: asked, refuse: v, help: fmt.Errorf("gorush's configuration cannot be asked for (%s): check Endpoint, and whether gorush runs", v.Reason)}
	}
	r := m.judge(answer, time.Now())
	r.asked = asked
	return r
}

// configuration is the part of gorush's configuration that matters.
type configuration struct {
	Core struct {
		Sync *bool `yaml:"sync"`
	} `yaml:"core"`
	Queue struct {
		Engine string `yaml:"engine"`
	} `yaml:"queue"`
	Android platform `yaml:"android"`
	IOS     platform `yaml:"ios"`
}

type platform struct {
	Enabled  *bool `yaml:"enabled"`
	MaxRetry int   `yaml:"max_retry"`
}

// judge makes a reading of an answer.
func (m *mode) judge(a attempt.Answer, now time.Time) reading {
	broken := func(reason string, help error) reading {
		return reading{refuse: pushext.Verdict{Class: pushext.ProviderBroken, Reason: "gorush " + reason}, help: help}
	}
	status := "config " + attempt.Status(a.Status)
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status >= 500, a.Status == http.StatusRequestTimeout:
		return reading{refuse: a.Later(now, "gorush "+status), help: fmt.Errorf("gorush's configuration cannot be asked for (%s)", status)}
	case a.Status != http.StatusOK:
		return broken(status, fmt.Errorf("gorush's configuration cannot be asked for (%s), and nothing else tells whether it is in sync mode: let this server GET it, and name it by ConfigURL if api.config_uri was changed", status))
	}
	var c configuration
	var mismatch *yaml.TypeError
	if err := yaml.Unmarshal(a.Body, &c); err != nil && !errors.As(err, &mismatch) || c.Core.Sync == nil {
		return broken("config unreadable", errors.New("what gorush gives as its configuration has no core.sync: check ConfigURL"))
	}
	on := c.Android
	if m.platform == IOS {
		on = c.IOS
	}
	const blind = "it answers before it sends, so nothing it says can be believed"
	switch {
	case c.Queue.Engine != "" && c.Queue.Engine != localQueue:
		// It switches sync mode off at the first push, and says so only then.
		return broken("queue is not local", fmt.Errorf("gorush's queue.engine is %q, with which it ignores core.sync: %s; set queue.engine: local and core.sync: true", c.Queue.Engine, blind))
	case !*c.Core.Sync:
		return broken("core.sync is off", fmt.Errorf("gorush's core.sync is false: %s; set core.sync: true", blind))
	case on.Enabled != nil && !*on.Enabled:
		return broken("platform is off", fmt.Errorf("gorush's %s.enabled is false: it drops what is for that platform without a word; set it true, or remove this provider", m.platform))
	}
	return reading{retries: max(on.MaxRetry, 0)}
}
