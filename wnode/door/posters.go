package door

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"whisperpush/whisper"
)

// posters limits how much one network posts. It remembers maxPosters of them; one that was
// forgotten starts over.
type posters struct {
	mu    sync.Mutex // guards the following
	known map[whisper.Source]*list.Element
	order list.List // of *poster, the latest to post at the end
}

type poster struct {
	source whisper.Source
	bucket *rate.Limiter
}

func newPosters() *posters {
	return &posters{known: make(map[whisper.Source]*list.Element)}
}

// allow takes one post of a network, or reports that it is one too many.
func (p *posters) allow(source whisper.Source, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.known[source]
	if at == nil {
		if len(p.known) >= maxPosters {
			first := p.order.Front()
			delete(p.known, p.order.Remove(first).(*poster).source)
		}
		at = p.order.PushBack(&poster{source, rate.NewLimiter(postRate, postBurst)})
		p.known[source] = at
	} else {
		p.order.MoveToBack(at)
	}
	return at.Value.(*poster).bucket.AllowN(now, 1)
}
