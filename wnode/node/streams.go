package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// maxStreams is how many copies may be under way at a time.
	maxStreams = 4
	// streamPatience is how long a copy waits for its reader before it gives up.
	streamPatience = time.Minute
	// chunkBytes is the size of one answer.
	chunkBytes = 1 << 20
)

// streams are the copies being made from a running node. Each writer waits for its reader, so no copy is held in memory.
type streams struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex // guards open
	open map[string]*stream
}

type stream struct {
	r    *io.PipeReader
	idle *time.Timer
	turn chan struct{} // holds one: the current reader
}

func newStreams() *streams {
	s := &streams{open: map[string]*stream{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends all copies.
func (s *streams) Close() {
	s.stop()
	s.mu.Lock()
	for _, one := range s.open {
		one.r.CloseWithError(errors.New("the node stops"))
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// begin starts a copy, and returns the id to read it by.
func (s *streams) begin(write func(ctx context.Context, w io.Writer) error) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.open) >= maxStreams {
		return "", fmt.Errorf("%d copies are being made already; wait for one to end", maxStreams)
	}
	if s.ctx.Err() != nil {
		return "", errors.New("the node stops")
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	id = hex.EncodeToString(random[:])
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(s.ctx)
	one := &stream{r: r, turn: make(chan struct{}, 1)}
	one.idle = time.AfterFunc(streamPatience, func() { s.end(id) })
	s.open[id] = one
	s.wg.Go(func() {
		defer cancel()
		w.CloseWithError(write(ctx, w)) // nil means the end
	})
	return id, nil
}

// read returns the next part, at most chunkBytes; end says that nothing follows.
func (s *streams) read(id string) (chunk []byte, end bool, err error) {
	s.mu.Lock()
	one := s.open[id]
	s.mu.Unlock()
	if one == nil {
		return nil, false, errors.New("this copy is not being made; begin it again")
	}
	one.turn <- struct{}{}
	defer func() { <-one.turn }()
	one.idle.Stop()
	chunk = make([]byte, chunkBytes)
	n, err := io.ReadFull(one.r, chunk)
	switch {
	case err == nil:
		one.idle.Reset(streamPatience)
		return chunk, false, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.end(id)
		return chunk[:n], true, nil
	}
	s.end(id)
	return nil, false, err
}

// end forgets a copy, whether it is complete or not.
func (s *streams) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.open[id]; one != nil {
		one.idle.Stop()
		one.r.CloseWithError(errors.New("the reader has gone"))
		delete(s.open, id)
	}
}
