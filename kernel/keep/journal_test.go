package keep

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cellar/kernel/wire"
)

func openJournal(t testing.TB, dir string, quota int64) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, quota)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func said(text string) *wire.Message { return &wire.Message{Content: []byte(text)} }

func appendAll(t testing.TB, j *Journal, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := j.Append(wire.IOPub, said(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
}

func texts(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("line %d", i))
	}
	return out
}

var errEnough = errors.New("enough")

// read follows from seq on until a record with seq last was given.
func read(t testing.TB, j *Journal, from, last uint64) (seqs []uint64, contents []string) {
	t.Helper()
	err := j.Follow(t.Context(), from, func(rec []byte, _ bool) error {
		r, err := ParseRecord(rec)
		if err != nil {
			return err
		}
		seqs, contents = append(seqs, r.Seq), append(contents, string(r.Message.Content))
		if r.Seq >= last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("Follow ended with %v", err)
	}
	return seqs, contents
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func TestJournalKeepsOrderAndChannels(t *testing.T) {
	j := openJournal(t, t.TempDir(), 0)
	for i, ch := range []wire.Channel{wire.Shell, wire.Control, wire.Stdin, wire.IOPub, wire.Request, wire.Event} {
		m := &wire.Message{Header: []byte("h"), Parent: []byte("p"), Metadata: []byte("m"), Content: []byte(ch.String()), Buffers: [][]byte{{}, []byte("b")}}
		if seq, err := j.Append(ch, m); err != nil || seq != uint64(i+1) {
			t.Fatalf("Append: %d, %v", seq, err)
		}
	}
	j.Flush()
	want := wire.Shell
	j.Follow(t.Context(), 1, func(rec []byte, more bool) error {
		r, err := ParseRecord(rec)
		m := r.Message
		if err != nil || r.Channel != want || string(m.Header)+string(m.Parent)+string(m.Metadata)+string(m.Content) != "hpm"+want.String() ||
			len(m.Buffers) != 2 || string(m.Buffers[1]) != "b" || r.Time.IsZero() {
			t.Errorf("record %d: %+v, %v", r.Seq, r, err)
		}
		if more != (want != wire.Event) {
			t.Errorf("record %d: more = %v", r.Seq, more)
		}
		if want++; want > wire.Event {
			return errEnough
		}
		return nil
	})
}

func TestTwoReadersFollowFromWhereTheyLike(t *testing.T) {
	j := openJournal(t, t.TempDir(), 0)
	appendAll(t, j, texts(1, 10)...)
	type result struct{ contents []string }
	results := make([]chan result, 2)
	for i, from := range []uint64{1, 8} {
		results[i] = make(chan result, 1)
		go func() {
			_, contents := read(t, j, from, 40)
			results[i] <- result{contents}
		}()
	}
	for i := 11; i <= 40; i++ {
		appendAll(t, j, fmt.Sprintf("line %d", i))
	}
	if r := <-results[0]; !slices.Equal(r.contents, texts(1, 40)) {
		t.Errorf("the reader from 1 got %q", r.contents)
	}
	if r := <-results[1]; !slices.Equal(r.contents, texts(8, 40)) {
		t.Errorf("the reader from 8 got %q", r.contents)
	}
}

func TestFollowEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(j *Journal, cancel func())
		want error
	}{
		"with its context":  {func(_ *Journal, cancel func()) { cancel() }, context.Canceled},
		"with the journal":  {func(j *Journal, _ func()) { j.Close() }, io.EOF},
		"with its function": {func(j *Journal, _ func()) { appendAll(t, j, "stop") }, errEnough},
	} {
		j := openJournal(t, t.TempDir(), 0)
		appendAll(t, j, "first")
		ctx, cancel := context.WithCancel(t.Context())
		first, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- j.Follow(ctx, 1, func(rec []byte, _ bool) error {
				if r, _ := ParseRecord(rec); string(r.Message.Content) == "stop" {
					return errEnough
				}
				close(first)
				return nil
			})
		}()
		<-first
		c.end(j, cancel)
		if err := <-ended; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		cancel()
	}
}

func TestReopenGoesOn(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	appendAll(t, j, texts(1, 3)...)
	if _, err := j.Append(wire.IOPub, said("line 4")); err != nil { // pending only: Close writes it
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, dir, 0)
	if first, next := j.Bounds(); first != 1 || next != 5 {
		t.Errorf("bounds after reopening: %d, %d", first, next)
	}
	appendAll(t, j, "line 5")
	if seqs, contents := read(t, j, 1, 5); !slices.Equal(contents, texts(1, 5)) || !slices.Equal(seqs, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("got %v %q", seqs, contents)
	}
}

// TestTornTail cuts the file at every byte of its last entry, and flips every
// byte of it: the entries before stay, the next one follows them.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	appendAll(t, j, "line 1", "line 2")
	j.Close()
	name := segmentFiles(t, dir)[0]
	two, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	entry := len(two) / 2
	damaged := map[string][]byte{}
	for cut := entry; cut < 2*entry; cut++ {
		damaged[fmt.Sprintf("cut at %d", cut)] = two[:cut]
		flipped := bytes.Clone(two)
		flipped[cut] ^= 0x20
		damaged[fmt.Sprintf("flipped at %d", cut)] = flipped
	}
	for what, b := range damaged {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(dir, 0)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		appendAll(t, j, "line 3")
		if seqs, contents := read(t, j, 1, 2); !slices.Equal(contents, []string{"line 1", "line 3"}) || !slices.Equal(seqs, []uint64{1, 2}) {
			t.Errorf("%s: got %v %q", what, seqs, contents)
		}
		j.Close()
	}
}

// fill writes one segment full and lets the journal begin the next.
func fill(t testing.TB, j *Journal) {
	t.Helper()
	appendAll(t, j, string(bytes.Repeat([]byte("x"), segmentSize)))
}

func TestAckDropsWholeSegmentsOnly(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	fill(t, j)               // seq 1
	fill(t, j)               // seq 2
	appendAll(t, j, "three") // in the third segment
	j.Ack(0)
	if n := len(segmentFiles(t, dir)); n != 3 {
		t.Errorf("after Ack(0): %d segments", n)
	}
	j.Ack(1)
	if first, next := j.Bounds(); first != 2 || next != 4 {
		t.Errorf("after Ack(1): bounds %d, %d", first, next)
	}
	if n := len(segmentFiles(t, dir)); n != 2 {
		t.Errorf("after Ack(1): %d segments on disk", n)
	}
	if seqs, _ := read(t, j, 1, 3); !slices.Equal(seqs, []uint64{2, 3}) {
		t.Errorf("a reader from 1 gets %v", seqs)
	}
	j.Ack(1<<64 - 1)
	j.Ack(3)
	if seqs, _ := read(t, j, 1, 3); !slices.Equal(seqs, []uint64{3}) {
		t.Errorf("a small last segment stays: %v", seqs)
	}
}

func TestAckOfEverythingEmptiesALargeSegment(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 1<<30)
	appendAll(t, j, string(bytes.Repeat([]byte("x"), 2<<20)))
	j.Ack(1)
	names := segmentFiles(t, dir)
	if len(names) != 1 {
		t.Fatalf("segments %v", names)
	}
	if st, err := os.Stat(names[0]); err != nil || st.Size() != 0 {
		t.Errorf("%d bytes are left, %v", st.Size(), err)
	}
	j.Close()
	j = openJournal(t, dir, 1<<30)
	if first, next := j.Bounds(); first != 2 || next != 2 {
		t.Errorf("bounds after reopening an emptied journal: %d, %d", first, next)
	}
	appendAll(t, j, "two")
	if seqs, _ := read(t, j, 1, 2); !slices.Equal(seqs, []uint64{2}) {
		t.Errorf("got %v", seqs)
	}
}

// TestAckUnderAFollower removes what a reader is about to read: it goes on with
// what is left.
func TestAckUnderAFollower(t *testing.T) {
	j := openJournal(t, t.TempDir(), 1<<30)
	appendAll(t, j, "one")
	var seqs []uint64
	err := j.Follow(t.Context(), 1, func(rec []byte, _ bool) error {
		seq := binary.LittleEndian.Uint64(rec)
		seqs = append(seqs, seq)
		switch seq {
		case 1:
			fill(t, j) // 2
			fill(t, j) // 3
			appendAll(t, j, "four")
			j.Ack(3)
		case 4:
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || !slices.Equal(seqs, []uint64{1, 4}) {
		t.Errorf("got %v, %v", seqs, err)
	}
}

func TestQuotaKeepsTheOldestAndTheNewest(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 4*segmentSize)
	const n = 20
	for range n {
		fill(t, j)
	}
	seqs, _ := read(t, j, 1, n)
	if seqs[0] != 1 || seqs[len(seqs)-1] != n || len(seqs) >= n || len(seqs) < 3 {
		t.Errorf("kept %v of %d", seqs, n)
	}
	if !slices.IsSorted(seqs) {
		t.Errorf("out of order: %v", seqs)
	}
	var size int64
	for _, name := range segmentFiles(t, dir) {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if size > 5*segmentSize {
		t.Errorf("%d bytes on disk with a quota of %d", size, 4*segmentSize)
	}
	j.Close()
	if _, next := openJournal(t, dir, 4*segmentSize).Bounds(); next != n+1 {
		t.Errorf("next after reopening: %d", next)
	}
}

// TestQuotaUnderAFollower drops the segment that a slow reader is in.
func TestQuotaUnderAFollower(t *testing.T) {
	j := openJournal(t, t.TempDir(), 4*segmentSize)
	const n = 30
	fill(t, j) // 1
	fill(t, j) // 2
	appendAll(t, j, "three")
	calls, last := 0, uint64(0)
	err := j.Follow(t.Context(), 3, func(rec []byte, _ bool) error {
		calls++
		seq := binary.LittleEndian.Uint64(rec)
		if seq <= last {
			t.Errorf("seq %d after %d", seq, last)
		}
		if last = seq; seq == 3 { // while this reader is slow
			for range n - 3 {
				fill(t, j)
			}
		}
		if seq == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || calls >= n-2 {
		t.Errorf("%d records, the last %d, %v", calls, last, err)
	}
}

// TestTheLastRecordOfASegmentIsNotHeldBack: the reader flushes its connection
// when no more follows, and after a rotation nothing does.
func TestTheLastRecordOfASegmentIsNotHeldBack(t *testing.T) {
	j := openJournal(t, t.TempDir(), 1<<30)
	fill(t, j)
	if n := len(j.segments); n != 2 {
		t.Fatalf("%d segments: the test needs a rotation", n)
	}
	j.Follow(t.Context(), 1, func(_ []byte, more bool) error {
		if more {
			t.Error("more is promised where nothing follows")
		}
		return errEnough
	})
}

func TestAFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir, 0)
	appendAll(t, j, "one")
	good := j.file
	j.file = nil // writes fail, as on a full disk
	if _, err := j.Append(wire.IOPub, said("two")); err != nil {
		t.Fatal(err)
	}
	if err := j.Flush(); err == nil || j.Pending() == 0 {
		t.Fatalf("Flush: %v, pending %d", err, j.Pending())
	}
	j.file = good
	appendAll(t, j, "three")
	if _, contents := read(t, j, 1, 3); !slices.Equal(contents, []string{"one", "two", "three"}) || j.Pending() != 0 {
		t.Errorf("got %q, pending %d", contents, j.Pending())
	}
}

func FuzzParseRecord(f *testing.F) {
	m := &wire.Message{Header: []byte(`{"msg_id":"x"}`), Content: []byte(`{}`), Buffers: [][]byte{[]byte("b"), {}}}
	f.Add(appendRecord(nil, 7, epoch, wire.IOPub, m))
	f.Add(appendRecord(nil, 1<<63, epoch, wire.Event, &wire.Message{}))
	f.Add([]byte{})
	f.Add(append(make([]byte, 17), 0xff, 0xff))
	f.Add(append(make([]byte, 17), 4, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if r.Message.Size() > len(b) {
			t.Fatalf("%d bytes out of %d", r.Message.Size(), len(b))
		}
		again := appendRecord(nil, r.Seq, r.Time, r.Channel, r.Message)
		if !bytes.Equal(again, b[:len(again)]) {
			t.Fatalf("% x came back as % x", b, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	j := openJournal(b, b.TempDir(), 0)
	m := said(string(bytes.Repeat([]byte("x"), 100)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Append(wire.IOPub, m); err != nil {
			b.Fatal(err)
		}
	}
}
