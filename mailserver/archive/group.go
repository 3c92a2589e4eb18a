package archive

import (
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

// group holds the envelopes that are committed with one fsync. The writer uses two
// of them in turn.
type group struct {
	submissions []engine.Submission
	weight      int64 // of the submissions
	duplicates  int   // envelopes that are not stored again
	blocks      []newBlock
	blockSize   int // bytes of the envelopes in the last block
	bytes       int // of all finished blocks
	batch       durable.Batch
	partition   *partition // the partition that the group is written to
	started     time.Time  // when it was handed to the disk
}

// newBlock is a block that is being committed.
type newBlock struct {
	first uint64
	envs  []*whisper.Envelope
	value []byte // nil until it is finished
}

// add puts e, which has sequence seq, into the last block or a new one, and
// returns its position there.
func (g *group) add(seq uint64, e *whisper.Envelope) (at uint8) {
	n := len(g.blocks)
	if n == 0 || len(g.blocks[n-1].envs) == blockRecords || g.blockSize+len(e.Raw()) > blockBytes {
		g.finishBlock()
		g.blocks = append(g.blocks, newBlock{first: seq, envs: make([]*whisper.Envelope, 0, 32)})
	}
	b := &g.blocks[len(g.blocks)-1]
	b.envs = append(b.envs, e)
	g.blockSize += len(e.Raw())
	return uint8(len(b.envs) - 1)
}

// envelopes returns how many envelopes g has.
func (g *group) envelopes() (n int) {
	for _, b := range g.blocks {
		n += len(b.envs)
	}
	return n
}

// finishBlock encodes the last block.
func (g *group) finishBlock() {
	if len(g.blocks) == 0 {
		return
	}
	b := &g.blocks[len(g.blocks)-1]
	value := make([]byte, 0, g.blockSize+blockHeader+blockTrailer+len(b.envs)*(4+5))
	b.value = appendBlock(value, b.first, time.Now(), b.envs)
	g.batch.Put(logKey(b.first), b.value)
	g.bytes += len(b.value)
	g.blockSize = 0
}

// finish makes g ready to be written to p.
func (g *group) finish(p *partition) {
	g.finishBlock()
	g.partition, g.started = p, time.Now()
}

// unindex removes the envelopes of g from run, where they must be the last.
func (g *group) unindex(run *memoryRun) {
	for _, b := range slices.Backward(g.blocks) {
		run.removeLast(b.envs)
	}
}

// reset empties g and keeps its memory.
func (g *group) reset() {
	clear(g.submissions)
	clear(g.blocks)
	g.submissions, g.blocks = g.submissions[:0], g.blocks[:0]
	g.weight, g.duplicates, g.blockSize, g.bytes = 0, 0, 0, 0
	g.batch.Reset()
}
