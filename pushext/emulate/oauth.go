package emulate

import (
	"net/http"
	"sync"
)

// grants is the scriptable part of an OAuth token endpoint.
type grants struct {
	mu    sync.Mutex // guards the following field
	queue []Answer
}

// ScriptOAuth queues answers for the next token exchanges. Code is an OAuth
// error such as "invalid_grant".
func (g *grants) ScriptOAuth(answers ...Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, answers...)
}

// refuse carries out the next scripted answer, if there is one, and reports
// whether that was the reply.
func (g *grants) refuse(s *Service, w http.ResponseWriter, r *http.Request) bool {
	g.mu.Lock()
	var a Answer
	a, g.queue = take(g.queue)
	g.mu.Unlock()
	s.perform(w, r, a)
	if a.answered() || !a.fails() {
		return a.answered()
	}
	status := a.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	reply(w, status, map[string]string{"error": a.Code, "error_description": a.Message})
	return true
}

// take returns the answer to one request, and the rest of the queue.
func take(queue []Answer) (Answer, []Answer) {
	if len(queue) == 0 {
		return Answer{}, nil
	}
	a := queue[0]
	switch {
	case a.Times > 1:
		queue[0].Times--
	case a.Times >= 0:
		queue = queue[1:]
	}
	return a, queue
}
