package archive

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"whisperpush/durable"
	"whisperpush/mailserver/archive/engine"
	"whisperpush/whisper"
)

// ErrOrder means that a record's sequence is not above that of the record before it.
var ErrOrder = errors.New("archive: records out of order")

// Builder writes a new archive from the records of another, with their sequences and times: a copy that can be opened
// in its place. Its log gets a new identity, because the other archive may give the sequences of what is archived in
// the copy to something else. The archive is valid only once Close has returned nil.
type Builder struct {
	a    *Archive // as far as it opens partitions
	part *partition
	run  *memoryRun
	prev uint64 // last sequence of the run before run, 0 if there is none
	from bool   // the log began before the first record: sequences between last and it are a gap

	last     uint64 // sequence
	first    uint64 // first sequence of the block that is being filled
	received time.Time
	envs     []*whisper.Envelope
	size     int // bytes of envs
	batch    durable.Batch
	pending  int // bytes in batch
}

// buildBatch is how many bytes are written at a time.
const buildBatch = 4 << 20

// Build begins an archive in dir, which must be empty or missing. Of the options it uses Retention, for the width of
// partitions, and Logger.
func Build(dir string, o Options) (*Builder, error) {
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		return nil, fmt.Errorf("build an archive: there is something in %s", dir)
	}
	return newBuilder(dir, o)
}

// Rebuild begins an archive in dir, which must be empty or missing. The archive continues another one that is given up: it
// has that one's identity, and its sequences follow origin.After. With origin.Continue, Rebuild continues what an earlier
// Rebuild of the same origin has left in dir, whatever ended it; Last says from where.
func Rebuild(dir string, o Options, origin Origin) (_ *Builder, err error) {
	var b *Builder
	if origin.Continue {
		b, err = newBuilder(dir, o)
	} else {
		b, err = Build(dir, o)
	}
	if err != nil {
		return nil, err
	}
	b.last, b.from = origin.After, true
	b.a.book.identify(origin.ID)
	if err := b.resume(); err != nil {
		b.Abort()
		return nil, fmt.Errorf("go on building an archive: %w", err)
	}
	return b, nil
}

func newBuilder(dir string, o Options) (*Builder, error) {
	vol, err := openDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("build an archive: %w", err)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.runRecords == 0 {
		o.runRecords = runRecords
	}
	a := &Archive{o: o, vol: vol, log: o.Logger, width: engine.PartitionWidth(o.Retention), db: durable.NewMetrics(nil)}
	a.book.vol = vol
	a.book.renew()
	return &Builder{a: a}, nil
}

// resume reads the partitions that exist. The newest may be incomplete, so it is removed and made again.
func (b *Builder) resume() error {
	names, err := b.a.vol.list()
	if err != nil {
		return err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := parsePartition(name); ok {
			firsts = append(firsts, first)
		}
	}
	if len(firsts) == 0 {
		return nil
	}
	slices.Sort(firsts)
	if err := b.a.vol.remove(partitionName(firsts[len(firsts)-1])); err != nil {
		return err
	}
	for _, first := range firsts[:len(firsts)-1] {
		last, err := b.a.lastOf(first)
		if err != nil {
			return err
		}
		b.a.book.add(seqSpan{From: b.last + 1, To: first - 1})
		b.last = last
	}
	return nil
}

// lastOf returns the newest sequence of a partition that nobody has open, or first-1 if the partition is empty.
func (a *Archive) lastOf(first uint64) (uint64, error) {
	p := &partition{name: partitionName(first), first: first}
	var err error
	if p.db, err = a.openDB(p.name, true, true); err != nil {
		return 0, err
	}
	_, block, err := p.end()
	if err = errors.Join(err, p.db.Close()); err != nil {
		return 0, err
	}
	if block.n == 0 {
		return first - 1, nil
	}
	return block.last(), nil
}

// Last returns the sequence after which the next record must come.
func (b *Builder) Last() uint64 { return b.last }

// Add adds a record. Its sequence must be above those before it.
func (b *Builder) Add(r Record) error {
	if r.Seq <= b.last {
		return fmt.Errorf("%w: %d follows %d", ErrOrder, r.Seq, b.last)
	}
	gap := (b.from || b.part != nil) && r.Seq != b.last+1
	if gap || b.part != nil && (r.Received.Sub(b.part.started) >= b.a.width || r.Seq-b.part.first >= maxPartitionRecords-2*maxRunRecords) {
		if err := b.endPartition(); err != nil {
			return err
		}
	}
	if gap {
		b.a.book.add(seqSpan{From: b.last + 1, To: r.Seq - 1}) // nothing that was to be copied is missing
	}
	if b.part == nil {
		if err := b.beginPartition(r); err != nil {
			return err
		}
	}
	n := len(r.Envelope.Raw())
	if len(b.envs) > 0 && (len(b.envs) == blockRecords || b.size+n > blockBytes || !r.Received.Equal(b.received)) {
		if err := b.endBlock(); err != nil {
			return err
		}
	}
	if len(b.envs) == 0 {
		b.first, b.received = r.Seq, r.Received
	}
	b.run.add(r.Envelope, uint8(len(b.envs)))
	b.envs = append(b.envs, r.Envelope)
	b.size += n
	b.last = r.Seq
	return nil
}

func (b *Builder) beginPartition(r Record) (err error) {
	if err := b.a.vol.sync(); err != nil { // syncs the earlier names: if the next partition exists, they are complete
		return err
	}
	b.part = &partition{name: partitionName(r.Seq), first: r.Seq, started: r.Received}
	b.run, b.prev = newMemoryRun(b.part, r.Seq, 0), 0
	b.part.db, err = b.a.openDB(b.part.name, false, false)
	return err
}

// endBlock puts the block into the batch, and ends the run of the index when it is long enough.
func (b *Builder) endBlock() error {
	if len(b.envs) == 0 {
		return nil
	}
	value := appendBlock(nil, b.first, b.received, b.envs)
	b.batch.Put(logKey(b.first), value)
	b.pending += len(value)
	b.envs, b.size = b.envs[:0], 0
	if b.run.count() >= b.a.o.runRecords {
		return b.endRun()
	}
	if b.pending >= buildBatch {
		return b.flush(b.part.db.WriteUnsynced)
	}
	return nil
}

func (b *Builder) endRun() error {
	if err := b.flush(b.part.db.WriteUnsynced); err != nil || b.run.count() == 0 {
		return err
	}
	_, _, batch := b.run.encode(b.prev)
	b.prev = b.last
	b.run = newMemoryRun(b.part, b.last+1, 0)
	return b.part.db.WriteUnsynced(batch)
}

func (b *Builder) flush(write func(*durable.Batch) error) error {
	err := write(&b.batch)
	b.batch.Reset()
	b.pending = 0
	return err
}

func (b *Builder) endPartition() error {
	if b.part == nil {
		return nil
	}
	err := b.endBlock()
	if err == nil {
		err = b.endRun()
	}
	if err == nil {
		err = b.flush(b.part.db.Write) // with an fsync of all before it
	}
	err = errors.Join(err, b.part.db.Close())
	b.part.db = nil
	if err == nil {
		b.part = nil
	}
	return err
}

// End ends an archive that Rebuild began. Sequences up to last that no record had are never given to anything. The
// archive is on disk when End returns nil. Further calls do nothing.
func (b *Builder) End(last uint64) error {
	if b.a == nil {
		return nil
	}
	if err := b.endPartition(); err != nil {
		return err
	}
	if last > b.last {
		b.a.book.add(seqSpan{From: b.last + 1, To: last})
		b.last = last
	}
	// What follows gets a partition whose name tells where the sequences continue.
	db, err := b.a.openDB(partitionName(b.last+1), false, false)
	if err == nil {
		err = errors.Join(db.Close(), b.a.vol.sync(), b.a.book.save(b.last+1, b.last, true))
	}
	b.Abort()
	return err
}

// Close ends the archive; it is on disk when Close returns nil. Further calls do nothing.
func (b *Builder) Close() error {
	if b.a == nil {
		return nil
	}
	a, first := b.a, b.last+1
	defer func() { b.a = nil }()
	defer a.vol.close()
	if b.part != nil {
		first = b.part.first
	}
	err := b.endPartition()
	if err == nil && b.last > 0 {
		err = errors.Join(a.vol.sync(), a.book.save(first, b.last, true))
	}
	return err
}

// Abort abandons the archive. It may be called after Close, and then does nothing.
func (b *Builder) Abort() {
	if b.a == nil {
		return
	}
	if b.part != nil && b.part.db != nil {
		b.part.db.Close()
	}
	b.a.vol.close()
	b.a = nil
}
