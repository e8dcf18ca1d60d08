package hub

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"cellar/internal/fault"
	"cellar/kernel"
)

func newOperations() *Operations {
	return &Operations{list: map[string]*Operation{}, log: slog.New(slog.DiscardHandler)}
}

func TestOperationsThatFail(t *testing.T) {
	os := newOperations()
	o := os.Begin(t.Context(), "p", "test", func(ctx context.Context, _ *Operation) (any, error) {
		<-ctx.Done()
		return "left out", fault.Wrap(fault.Conflict, "stopped", "It was stopped.", ctx.Err())
	})
	o.Cancel()
	s, err := o.Wait(t.Context())
	if err != nil || s.Error == nil || s.Error.Code != "stopped" || s.Error.Title != "conflict" || s.Response != nil || s.Progress == 1 {
		t.Errorf("cancelled: %+v, %v", s, err)
	}
	o = os.Begin(t.Context(), "p", "test", func(context.Context, *Operation) (any, error) { return make(chan int), nil })
	if s, _ := o.Wait(t.Context()); s.Error == nil {
		t.Errorf("an answer that cannot be told: %+v", s)
	}
	if _, err := os.Get("none"); !errors.Is(err, fault.NotFound) {
		t.Errorf("Get: %v", err)
	}
	os.wg.Wait()
}

func TestOperationsAreForgottenAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		os := newOperations()
		quick := func(context.Context, *Operation) (any, error) { return nil, nil }
		stop := make(chan struct{})
		old := os.Begin(t.Context(), "p", "old", quick)
		long := os.Begin(t.Context(), "p", "long", func(context.Context, *Operation) (any, error) { <-stop; return nil, nil })
		synctest.Wait()
		time.Sleep(keepEnded - time.Second)
		os.Begin(t.Context(), "p", "x", quick)
		if _, err := os.Get(old.ID); err != nil {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Second)
		os.Begin(t.Context(), "p", "y", quick)
		if _, err := os.Get(old.ID); err == nil {
			t.Error("never forgotten")
		}
		if _, err := os.Get(long.ID); err != nil {
			t.Error("one that goes on is forgotten")
		}
		close(stop)
		os.wg.Wait()
	})
}

func TestEvents(t *testing.T) {
	var e events
	e.send(Event{Project: "p"}) // nobody there
	a, stopA := e.follow("p")
	b, stopB := e.follow("q")
	defer stopB()
	for i := range followerQueue + 10 {
		e.send(Event{Project: "p", Type: "kernel", Data: i})
	}
	for i := range followerQueue { // the oldest ten are lost
		if ev := <-a; ev.Data != i+10 {
			t.Fatalf("event %d carries %v", i, ev.Data)
		}
	}
	if len(b) != 0 {
		t.Error("another project's events came")
	}
	stopA()
	stopA()
	e.send(Event{Project: "p"})
	if len(a) != 0 {
		t.Error("events come after the end")
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"My Project":             "my-project",
		"  --Hello,  World!--  ": "hello-world",
		"Ünïcödé":                "unicode",
		"проект 1":               "проект-1",
		"프로젝트":                   "프로젝트",
		"数据":                     "数据",
		"ﬁne ½":                  "fine-1-2",
		"..":                     "project",
		"../../etc/passwd":       "etc-passwd",
		"":                       "project",
		"\x00\xff":               "project",
		"a/b\\c:d":               "a-b-c-d",
		"😀":                      "project",
	} {
		if got := slug(name); got != want {
			t.Errorf("slug(%q) = %q, want %q", name, got, want)
		}
	}
}

// FuzzSlug: an ID is a folder's name and a part of URLs.
func FuzzSlug(f *testing.F) {
	f.Add("My Project")
	f.Add("../x")
	f.Add(strings.Repeat("프", 200))
	f.Add("İ\u0301\u202e")
	f.Fuzz(func(t *testing.T, name string) {
		s := slug(name)
		if s == "" || len(s) > 100 || !utf8.ValidString(s) || strings.ContainsAny(s, "/\\.%?# \x00") || strings.HasPrefix(s, "-") || strings.HasSuffix(s, "-") {
			t.Fatalf("slug(%q) = %q", name, s)
		}
	})
}

func TestCheckName(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "  two words ": "two words", "ü 数 😀": "ü 数 😀", strings.Repeat("x", maxName): strings.Repeat("x", maxName)} {
		if got, err := checkName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", " \t\n", "a\nb", "a\x00b", "a\x7f", "\xff", strings.Repeat("x", maxName+1)} {
		if got, err := checkName(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func TestCleanDir(t *testing.T) {
	for in, want := range map[string]string{"": "", ".": "", "/": "", "..": "", "../..": "", "a/b": "a/b", "/a/": "a", "a/../../b": "b", "./a": "a"} {
		if got := cleanDir(in); got != want {
			t.Errorf("cleanDir(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConfigurations(t *testing.T) {
	list := DefaultConfigurations(8 << 30)
	if len(list) == 0 || list[0].Name != "c1.1" || list[0].CPUs != 1 || list[0].Memory != 2<<30 {
		t.Fatalf("the defaults: %+v", list)
	}
	for _, c := range list {
		if c.CPUs > runtime.NumCPU() || c.Memory > 6<<30 || c.UnitsPerSecond <= 0 {
			t.Errorf("%+v on a machine of %d cores and 8 GiB", c, runtime.NumCPU())
		}
	}
	h := &Hub{Config: Config{Configurations: list, Default: "c1.1"}}
	if c, err := h.Configuration(""); err != nil || c.Name != "c1.1" {
		t.Errorf("the default: %+v, %v", c, err)
	}
	if _, err := h.Configuration("c9"); !errors.Is(err, fault.Invalid) {
		t.Errorf("an unknown one: %v", err)
	}
	if !h.Available(list[0]) || h.Available(Configuration{CPUs: 1, GPUs: 1}) || h.Available(Configuration{CPUs: runtime.NumCPU() + 1}) {
		t.Error("what this machine can give")
	}
}

// TestKernelsGetTheEmptiestCores as long as there are any.
func TestKernelsGetTheEmptiestCores(t *testing.T) {
	h := &Hub{live: map[kernel.ID]*Live{}}
	sets := map[string]bool{}
	for i := range runtime.NumCPU() {
		l := &Live{h: h, rec: Kernel{ID: kernel.ID(string(rune('a' + i))), Container: "c"}}
		h.live[l.rec.ID] = l
		lim := h.limits(Configuration{CPUs: 1, Memory: 5}, l)
		if lim.CPUs != 1 || lim.Memory != 5 || lim.Pids != pidsPerKernel || lim.Check() != nil {
			t.Errorf("limits %+v", lim)
		}
		sets[lim.CPUSet] = true
	}
	if len(sets) != runtime.NumCPU() {
		t.Errorf("%d kernels of one core share %v", runtime.NumCPU(), sets)
	}
	all := h.limits(Configuration{CPUs: 10_000}, nil)
	if n := len(strings.Split(all.CPUSet, ",")); n != runtime.NumCPU() {
		t.Errorf("more than there is: %q", all.CPUSet)
	}
}

func TestRecordsChangeStateByTheTable(t *testing.T) {
	h := &Hub{Store: RefusingStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	h.ctx = t.Context()
	l := h.newLive(Kernel{ID: "k", State: kernel.Hibernated})
	err := l.change(t.Context(), func(k *Kernel) { k.State, k.Detail = kernel.Freezing, "lost" })
	if rec := l.Record(); !errors.Is(err, fault.Conflict) || rec.State != kernel.Hibernated || rec.Detail != "" {
		t.Errorf("an illegal step: %v, %+v", err, rec)
	}
	err = l.change(t.Context(), func(k *Kernel) { k.State = kernel.Resuming })
	if rec := l.Record(); !errors.Is(err, errRefused) || rec.State != kernel.Resuming || rec.Since.IsZero() {
		t.Errorf("a legal step that is not written: %v, %+v", err, rec)
	}
}

var errRefused = errors.New("the disk is full")

// RefusingStore writes nothing.
type RefusingStore struct{ Store }

func (RefusingStore) PutKernel(context.Context, Kernel) error { return errRefused }

func (RefusingStore) Sessions(context.Context, string) ([]Session, error) { return nil, errRefused }
