// Package health judges a running node by checks, and serves the verdict over HTTP.
//
// There are two questions. /healthz: is anything wrong that a restart may fix? If so, a supervisor restarts the node.
// /readyz: does the node do everything that it is set up to do? If not, a load balancer must wait or an operator must
// act; a restart would not help. Whatever fails the first also fails the second.
//
// A check may write to the disk and may hang, so asking often must cost nothing: a result is valid for Fresh, one run of
// each check is under way at a time, and a run that takes longer than Patience has failed.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// Fresh is how long the result of a check is valid.
	Fresh = 5 * time.Second
	// Patience is how long a check may take.
	Patience = 5 * time.Second
)

// Check is one question about the node.
type Check struct {
	// Name says what is checked, in one word.
	Name string
	// Live is set if a restart may fix what fails.
	Live bool
	// Run returns what is wrong and what to do, nil if nothing is. Its ctx has a deadline that Run need not keep.
	Run func(ctx context.Context) error
}

// Result is the answer to a Check.
type Result struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Reason says what is wrong and what to do; empty if nothing is.
	Reason string `json:"reason,omitempty"`
}

// Report is the verdict.
type Report struct {
	// Status is "ok" or "failing".
	Status string   `json:"status"`
	Checks []Result `json:"checks"`
	// Notes are what an operator should know although nothing fails.
	Notes []string `json:"notes,omitempty"`
}

// OK reports whether no check failed.
func (r Report) OK() bool { return r.Status == statusOK }

const (
	statusOK      = "ok"
	statusFailing = "failing"
)

// Judge runs checks. Close it before closing what the checks use.
type Judge struct {
	checks []*standing
	notes  func() []string
	clean  func(string) string
}

// Close waits for the runs under way, for at most Patience. From then on all checks fail.
func (j *Judge) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, check := range j.checks {
		check.end(ctx)
	}
}

// New makes a judge. notes, which may be nil, returns remarks for a Report; clean removes from a reason what nobody may
// read.
func New(clean func(string) string, notes func() []string, checks ...Check) *Judge {
	j := &Judge{notes: notes, clean: clean}
	for _, check := range checks {
		j.checks = append(j.checks, &standing{Check: check})
	}
	return j
}

// Report runs the checks that a restart may fix, or all of them. It waits for none of them after ctx has ended.
func (j *Judge) Report(ctx context.Context, all bool) Report {
	var asked []*standing
	for _, check := range j.checks {
		if all || check.Live {
			asked = append(asked, check)
		}
	}
	report := Report{Status: statusOK, Checks: make([]Result, len(asked))}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var wg sync.WaitGroup
	for i, check := range asked {
		wg.Go(func() {
			result := Result{Name: check.Name, OK: true}
			if err := check.ask(ctx); err != nil {
				result.OK, result.Reason = false, j.clean(err.Error())
			}
			report.Checks[i] = result
		})
	}
	wg.Wait()
	for _, result := range report.Checks {
		if !result.OK {
			report.Status = statusFailing
		}
	}
	if j.notes != nil {
		for _, note := range j.notes() {
			report.Notes = append(report.Notes, j.clean(note))
		}
	}
	return report
}

// Handler answers a GET with a Report as JSON, for the checks that a restart may fix, or for all. The status is 200 if
// none fails and 503 otherwise.
func (j *Judge) Handler(all bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		report := j.Report(r.Context(), all)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !report.OK() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		encoder.Encode(report)
	})
}

// standing is a check with its latest result.
type standing struct {
	Check

	mu    sync.Mutex
	err   error
	at    time.Time     // of the result; zero before the first
	run   chan struct{} // closed when the run under way ends; nil if there is none
	since time.Time     // when that run began
	ended bool          // no further run begins
}

// errEnded is the result of every check while the node stops.
var errEnded = errors.New("the node is stopping")

// end makes the check fail from now on, and waits for the run under way until ctx ends.
func (s *standing) end(ctx context.Context) {
	s.mu.Lock()
	s.ended = true
	done := s.run
	s.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// ask returns the check's result: the latest one if it is still valid, otherwise that of a run. A run that hangs goes on,
// and no second one is started.
func (s *standing) ask(ctx context.Context) error {
	s.mu.Lock()
	if s.ended {
		defer s.mu.Unlock()
		return errEnded
	}
	if s.run == nil {
		if !s.at.IsZero() && time.Since(s.at) < Fresh {
			defer s.mu.Unlock()
			return s.err
		}
		s.run, s.since = make(chan struct{}), time.Now()
		go s.perform(s.run)
	}
	done, since := s.run, s.since
	s.mu.Unlock()
	select {
	case <-done:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", time.Since(since).Round(time.Second))
	}
}

func (s *standing) perform(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	err := s.Run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.at, s.run = err, time.Now(), nil
	close(done)
}
