package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
	"cellar/proxy"
)

// slowKernel is a kernel with a journal, and a client of it whose queue holds
// little.
type slowKernel struct {
	t *testing.T
	j *keep.Journal
	l *Live
	c *Client
}

func newSlowKernel(t *testing.T, quota int64) *slowKernel {
	h := &Hub{Config: Config{Data: t.TempDir()}, Store: EmptyStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	h.ctx = t.Context()
	s := &slowKernel{t: t, l: h.newLive(Kernel{ID: "k", Project: "p", State: kernel.Running, Journal: "journal-1"})}
	var err error
	if s.j, err = keep.OpenJournal(s.l.journalDir(), quota); err != nil {
		t.Fatal(err)
	}
	if s.c, err = s.l.Attach("tab"); err != nil {
		t.Fatal(err)
	}
	s.c.Queue = proxy.NewQueue(2000)
	return s
}

func (s *slowKernel) print(text, parent string) {
	s.t.Helper()
	m := &wire.Message{
		Header: []byte(`{"msg_id":"m","msg_type":"stream","session":"kernel"}`), Parent: fmt.Appendf(nil, `{"msg_id":"x","session":%q}`, parent),
		Metadata: []byte("{}"), Content: fmt.Appendf(nil, `{"text":%q}`, text),
	}
	ch := wire.IOPub
	if strings.HasPrefix(text, "reply") {
		ch = wire.Shell
	}
	seq, err := s.j.Append(ch, m)
	if err == nil {
		err = s.j.Flush()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.l.take1(keep.Record{Seq: seq, Time: time.Now(), Channel: ch, Message: m})
}

func (s *slowKernel) say(text string) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.say(wire.IOPub, &wire.Message{Header: []byte("{}"), Content: fmt.Appendf(nil, `{"text":%q}`, text)}, "")
}

func (s *slowKernel) read(until int) (got []string) {
	s.t.Helper()
	for len(got) < until {
		items, err := s.c.Queue.Pop(s.t.Context())
		if err != nil {
			s.t.Fatalf("after %d of %d: %v", len(got), until, err)
		}
		for _, it := range items {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(string(it.Message.Content), `{"text":"`), `"}`))
		}
	}
	return got
}

// TestASlowClientCatchesUp: it gets all that is for it, once and in order, what
// the hub itself said in its place, and what comes while it reads.
func TestASlowClientCatchesUp(t *testing.T) {
	s := newSlowKernel(t, 1<<30)
	var want []string
	for i := range 500 {
		text := fmt.Sprint("line ", i)
		s.print(text, "tab")
		want = append(want, text)
		switch {
		case i%100 == 50:
			s.print("reply to another", "other")
			s.print("the hub asked", hubSession)
			s.print("reply to the tab", "tab")
			want = append(want, "reply to the tab")
		case i%100 == 99:
			s.say(fmt.Sprint("hub ", i))
			want = append(want, fmt.Sprint("hub ", i))
		}
	}
	s.l.mu.Lock()
	first, any := s.l.wanted()
	s.l.mu.Unlock()
	if !any || first > 100 {
		t.Errorf("the journal need not be kept: %d, %v", first, any)
	}
	got := s.read(200)
	for i := range 200 { // while it reads
		text := fmt.Sprint("later ", i)
		s.print(text, "tab")
		want = append(want, text)
	}
	got = append(got, s.read(len(want)-len(got))...)
	if !slices.Equal(got, want) {
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("message %d is %q, not %q", i, got[i], want[i])
			}
		}
	}
	s.l.h.wg.Wait() // it is behind no more
	s.print("live", "tab")
	if got := s.read(1); !slices.Equal(got, []string{"live"}) || s.c.behind != nil {
		t.Errorf("afterwards: %q, behind %v", got, s.c.behind)
	}
}

// TestWhatIsGoneIsTold: the journal has not kept what a client missed, or goes.
func TestWhatIsGoneIsTold(t *testing.T) {
	for _, how := range []string{"quota", "restart", "detached"} {
		t.Run(how, func(t *testing.T) {
			s := newSlowKernel(t, 0)
			for i := range 100 {
				s.print(fmt.Sprint("line ", i), "tab")
			}
			switch how {
			case "quota":
				names, _ := filepath.Glob(filepath.Join(s.l.journalDir(), "*"))
				if len(names) != 1 {
					t.Fatalf("segments %q", names)
				}
				s.print(strings.Repeat("x", 9<<20), "tab") // the next one begins
				s.j.Ack(101)
			case "restart":
				s.l.mu.Lock()
				s.l.newLife(0, 0)
				s.l.mu.Unlock()
			case "detached":
				s.c.Session = ""
				s.l.Detach(s.c, errors.New("the line is cut"))
			}
			for {
				items, err := s.c.Queue.Pop(t.Context())
				if err != nil {
					if how != "detached" && !errors.Is(err, proxy.ErrSlow) {
						t.Error(err)
					}
					break
				}
				if len(items) == 0 {
					t.Fatal("nothing, and no reason")
				}
			}
			s.l.h.wg.Wait() // nobody goes on reading for it
		})
	}
}
