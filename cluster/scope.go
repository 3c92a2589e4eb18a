package cluster

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// scope registers the metrics of one core with its shard as a label, until drop.
type scope struct {
	prometheus.Registerer

	mu  sync.Mutex // guards the following field
	all []prometheus.Collector
}

// newScope returns nil if r is nil.
func newScope(r prometheus.Registerer, shard int) *scope {
	if r == nil {
		return nil
	}
	return &scope{Registerer: prometheus.WrapRegistererWith(prometheus.Labels{"shard": strconv.Itoa(shard)}, r)}
}

// Register implements prometheus.Registerer.
func (s *scope) Register(c prometheus.Collector) error {
	err := s.Registerer.Register(c)
	if err == nil {
		s.mu.Lock()
		s.all = append(s.all, c)
		s.mu.Unlock()
	}
	return err
}

// MustRegister implements prometheus.Registerer.
func (s *scope) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := s.Register(c); err != nil {
			panic(err) // as the interface says: two metrics of one name are a mistake in the program
		}
	}
}

// drop unregisters what was registered.
func (s *scope) drop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		s.Registerer.Unregister(c)
	}
	s.all = nil
}
