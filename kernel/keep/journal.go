package keep

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cellar/kernel/wire"
)

// Journal is an append-only file in segments. Each entry is: length u32, CRC-32C
// u32, record. One file is open for writing; older segments are opened only
// while they are read, so that a checkpoint finds one journal file open.
type Journal struct {
	dir   string
	quota int64

	mu       sync.Mutex
	grown    *sync.Cond
	segments []segment
	file     *os.File // the last segment
	pending  []byte   // encoded, not yet written
	next     uint64
	closed   bool
}

type segment struct {
	first uint64
	size  int64 // bytes that readers may see
}

const (
	segmentSize   = 8 << 20
	pendingLimit  = 1 << 20
	entryHead     = 8
	journalSuffix = ".journal"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenJournal opens or makes the journal in dir. quota bounds its bytes on disk;
// over it the oldest quarter and the newest entries are kept.
func OpenJournal(dir string, quota int64) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, quota: max(quota, 4*segmentSize), next: 1}
	j.grown = sync.NewCond(&j.mu)
	names, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		var first uint64
		if _, err := fmt.Sscanf(strings.TrimSuffix(filepath.Base(name), journalSuffix), "%d", &first); err != nil {
			continue
		}
		size, last, err := scan(name)
		if err != nil {
			return nil, err
		}
		j.segments = append(j.segments, segment{first, size})
		if j.next = first; last > 0 {
			j.next = last + 1
		}
	}
	if len(j.segments) == 0 {
		return j, j.rotate()
	}
	last := j.segments[len(j.segments)-1]
	if j.file, err = os.OpenFile(j.path(last.first), os.O_RDWR, 0o644); err != nil {
		return nil, err
	}
	return j, j.file.Truncate(last.size)
}

func (j *Journal) path(first uint64) string { return filepath.Join(j.dir, segmentName(first)) }

// segmentName is the file of the segment whose first record is first.
func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, journalSuffix) }

// scan finds the length of the whole entries of a segment and the last seq.
func scan(name string) (size int64, last uint64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for {
		rec, err := readEntry(f, size)
		if err != nil {
			return size, last, nil
		}
		if r, err := ParseRecord(rec); err == nil {
			last = r.Seq
		}
		size += entryHead + int64(len(rec))
	}
}

func readEntry(f io.ReaderAt, at int64) ([]byte, error) {
	var head [entryHead]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < recordHead || n > MaxRecord {
		return nil, wire.ErrMalformed
	}
	rec := make([]byte, n)
	if _, err := f.ReadAt(rec, at+entryHead); err != nil {
		return nil, err
	}
	if crc32.Checksum(rec, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, wire.ErrMalformed
	}
	return rec, nil
}

// rotate starts a new segment; the lock is held or the journal is not shared.
func (j *Journal) rotate() error {
	f, err := os.OpenFile(j.path(j.next), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file = f
	j.segments = append(j.segments, segment{first: j.next})
	j.enforce()
	return nil
}

// enforce drops middle segments while the journal is over its quota.
func (j *Journal) enforce() {
	total := int64(0)
	for _, s := range j.segments {
		total += s.size
	}
	head := 0
	for kept := int64(0); head < len(j.segments) && kept < j.quota/4; head++ {
		kept += j.segments[head].size
	}
	for total > j.quota && head < len(j.segments)-2 {
		total -= j.segments[head].size
		os.Remove(j.path(j.segments[head].first))
		j.segments = slices.Delete(j.segments, head, head+1)
	}
}

// Append adds one record and returns its seq. It is visible to readers after
// Flush, which Append calls by itself when much is pending.
func (j *Journal) Append(ch wire.Channel, m *wire.Message) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seq := j.next
	start := len(j.pending)
	j.pending = append(j.pending, make([]byte, entryHead)...)
	j.pending = appendRecord(j.pending, seq, time.Now(), ch, m)
	rec := j.pending[start+entryHead:]
	binary.LittleEndian.PutUint32(j.pending[start:], uint32(len(rec)))
	binary.LittleEndian.PutUint32(j.pending[start+4:], crc32.Checksum(rec, castagnoli))
	j.next++
	if len(j.pending) >= pendingLimit {
		return seq, j.flush()
	}
	return seq, nil
}

// Flush writes what is pending and wakes the readers.
func (j *Journal) Flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.flush()
}

func (j *Journal) flush() error {
	if len(j.pending) == 0 {
		return nil
	}
	s := &j.segments[len(j.segments)-1]
	if _, err := j.file.WriteAt(j.pending, s.size); err != nil {
		// Disk full: the entries stay pending and are tried again with the next
		// ones; past 64 MiB the kernel is made to wait by not reading from it.
		return fmt.Errorf("journal: %w", err)
	}
	s.size += int64(len(j.pending))
	if cap(j.pending) > 4*pendingLimit {
		j.pending = nil
	} else {
		j.pending = j.pending[:0]
	}
	var err error
	if s.size >= segmentSize {
		err = j.rotate()
	}
	j.grown.Broadcast()
	return err
}

// Pending is the number of bytes that could not be written yet.
func (j *Journal) Pending() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)
}

// Bounds returns the first seq still kept and the next to be given.
func (j *Journal) Bounds() (first, next uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments[0].first, j.next
}

// Ack drops segments whose records are all at or below seq.
func (j *Journal) Ack(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.segments) > 1 && j.segments[1].first <= seq+1 {
		os.Remove(j.path(j.segments[0].first))
		j.segments = j.segments[1:]
	}
	// A kernel that is quiet now should not carry megabytes that are done with.
	if s := j.segments[0]; len(j.segments) == 1 && s.size > 1<<20 && seq+1 == j.next && len(j.pending) == 0 {
		if j.rotate() == nil {
			os.Remove(j.path(s.first))
			j.segments = j.segments[1:]
		}
	}
}

// Follow calls fn with every record from seq on, first those written, then new
// ones as they come, until ctx ends, the journal is closed or fn fails. The
// bytes are fn's to keep.
func (j *Journal) Follow(ctx context.Context, from uint64, fn func(record []byte, more bool) error) error {
	stop := context.AfterFunc(ctx, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.grown.Broadcast()
	})
	defer stop()
	var at segment // first: which segment; size: how far it was read
	for {
		end, more, err := j.await(ctx, &at, from)
		if err != nil {
			return err
		}
		if err := j.deliver(&at, end, from, more, fn); err != nil {
			return err
		}
	}
}

// await waits until the segment of at has bytes after at.size, moving at to the
// following segment when its own is done.
func (j *Journal) await(ctx context.Context, at *segment, from uint64) (end int64, more bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		if j.closed {
			return 0, false, io.EOF
		}
		i := 0
		for i+1 < len(j.segments) && j.segments[i+1].first <= max(from, at.first) {
			i++
		}
		if at.first > j.segments[i].first {
			i++ // its own was dropped by the quota
		}
		if at.first != j.segments[i].first {
			*at = segment{first: j.segments[i].first}
		}
		if at.size < j.segments[i].size {
			more := slices.ContainsFunc(j.segments[i+1:], func(s segment) bool { return s.size > 0 })
			return j.segments[i].size, more, nil
		}
		if i+1 < len(j.segments) {
			*at = segment{first: j.segments[i+1].first}
			continue
		}
		j.grown.Wait()
	}
}

func (j *Journal) deliver(at *segment, end int64, from uint64, more bool, fn func([]byte, bool) error) error {
	f, err := os.Open(j.path(at.first))
	if errors.Is(err, os.ErrNotExist) {
		return nil // acknowledged or dropped meanwhile: await moves on
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := newEntryReader(io.NewSectionReader(f, at.size, end-at.size), end-at.size)
	for at.size < end {
		rec, err := r.next()
		if err != nil {
			return fmt.Errorf("journal segment %d at %d: %w", at.first, at.size, err)
		}
		at.size += entryHead + int64(len(rec))
		if binary.LittleEndian.Uint64(rec) < from {
			continue
		}
		if err := fn(rec, more || at.size < end); err != nil {
			return err
		}
	}
	return nil
}

// Close flushes and ends all Follows.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.flush()
	j.closed = true
	j.grown.Broadcast()
	return errors.Join(err, j.file.Close())
}
