package hub

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// diedHub has one kernel, k, with a client of session "tab".
func diedHub(t *testing.T) (*Live, *Client) {
	h := &Hub{Config: Config{Data: t.TempDir()}, Store: EmptyStore{}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}}
	h.specs = map[string]KernelSpec{"python3": {Name: "python3", Image: "base"}}
	h.ctx = t.Context()
	l := h.newLive(Kernel{ID: "k", Project: "p", Spec: "python3", Image: "base", State: kernel.Running})
	h.live["k"] = l
	if err := os.MkdirAll(l.folder(), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := l.Attach("tab")
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func TestHowOftenAKernelIsRevived(t *testing.T) {
	l, _ := diedHub(t)
	at := time.Unix(1_700_000_000, 0)
	life := func(lasted time.Duration) (bool, string) {
		l.began = at
		at = at.Add(lasted)
		return l.mayRevive(at, "It fell.")
	}
	for round := range 2 { // a long life makes up for what was before
		for i := range maxRevivals {
			lasted := stableAfter - time.Millisecond
			if i == 0 {
				lasted = stableAfter
			}
			if again, why := life(lasted); !again || why != "It fell." {
				t.Fatalf("round %d, death %d: %v %q", round, i, again, why)
			}
		}
	}
	if again, why := life(0); again || !strings.HasPrefix(why, "It fell. ") || !strings.Contains(why, "5 times") {
		t.Errorf("once more at once: %v %q", again, why)
	}

	l.revived, l.rec.State, l.ready = 0, kernel.Starting, make(chan struct{})
	if again, why := life(0); again || why != "It fell." {
		t.Errorf("one that never came up: %v %q", again, why)
	}
	close(l.ready)
	if again, _ := life(0); !again {
		t.Error("one that has only just come up is not started again")
	}
	l.h.specs = nil
	if again, why := life(time.Hour); again || !strings.Contains(why, "No image") {
		t.Errorf("one without an image: %v %q", again, why)
	}
}

// TestWhoWaitsIsAnswered: of four cells one has ended, one ran, one waited in the
// kernel and one in the hub.
func TestWhoWaitsIsAnswered(t *testing.T) {
	l, c := diedHub(t)
	seq := uint64(0)
	record := func(ch wire.Channel, kind, id, parent, content string) {
		seq++
		head, _ := json.Marshal(wire.Header{MsgID: id, MsgType: kind, Session: "kernel"})
		of, _ := json.Marshal(wire.Header{MsgID: parent, Session: "tab"})
		if ch == wire.Request {
			head, of = json.RawMessage(fmt.Sprintf(`{"msg_id":%q,"msg_type":"execute_request","session":"tab"}`, id)), json.RawMessage("{}")
		}
		l.take1(keep.Record{Seq: seq, Time: time.Now(), Channel: ch, Message: &wire.Message{
			Header: head, Parent: of, Metadata: []byte(fmt.Sprintf(`{"cellId":%q}`, "cell-"+id)), Content: []byte(content),
		}})
	}
	for _, id := range []string{"done", "ran", "waited"} {
		record(wire.Request, "execute_request", id, "", `{"code":"x"}`)
	}
	record(wire.IOPub, "status", "m1", "done", `{"execution_state":"busy"}`)
	record(wire.Shell, "execute_reply", "m2", "done", `{"status":"ok"}`)
	record(wire.IOPub, "status", "m3", "done", `{"execution_state":"idle"}`)
	if err := l.SendFrom(c, wire.Shell, &wire.Message{Header: []byte(`{"msg_id":"out","msg_type":"execute_request","session":"tab"}`), Content: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := l.SendFrom(c, wire.Shell, &wire.Message{Header: []byte(`{"msg_id":"info","msg_type":"kernel_info_request","session":"tab"}`), Content: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	c.Queue.Pop(t.Context()) // what the kernel said

	l.mu.Lock()
	cut := l.answerOpen("It fell.", true)
	l.mu.Unlock()
	items, err := c.Queue.Pop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	for _, it := range items {
		h, _ := wire.ParseHeader(it.Message.Header)
		p, _ := wire.ParseHeader(it.Message.Parent)
		if h.Session != "kernel" {
			t.Errorf("%s in the name of %q", h.MsgType, h.Session)
		}
		var of struct {
			Status string
			EValue string
			State  string `json:"execution_state"`
		}
		if err := json.Unmarshal(it.Message.Content, &of); err != nil {
			t.Fatal(err)
		}
		heard = append(heard, strings.TrimRight(strings.Join([]string{p.MsgID, h.MsgType, of.Status, of.EValue, of.State}, " "), " "))
	}
	want := []string{
		"ran error  It fell.", "ran execute_reply error It fell.", "ran status   idle", "waited execute_reply aborted", "waited status   idle",
		"out execute_reply aborted", "out status   idle",
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard %q", heard)
	}
	if len(cut) != 2 || cut[0].MsgID != "ran" || cut[0].StartedAt.IsZero() || !cut[1].StartedAt.IsZero() || !cut[0].delivered {
		t.Errorf("runs that ended: %+v", cut)
	}
	if b, _ := json.Marshal(cut[0].Outputs); string(b) != `[{"ename":"DeadKernelError","evalue":"It fell.","output_type":"error","traceback":["DeadKernelError: It fell."]}]` {
		t.Errorf("its output: %s", b)
	}
	if len(l.out) != 1 || l.out[0].msgID != "" || len(l.unanswered) != 0 {
		t.Errorf("left: %v, %v", l.out, l.unanswered)
	}
}

// TestTheEndIsRemembered by the next hub, until somebody goes on.
func TestTheEndIsRemembered(t *testing.T) {
	l, _ := diedHub(t)
	at := time.Unix(1_700_000_000, 0).UTC()
	l.setDied(&Died{At: at, Reason: "It fell.", Checkpoint: "c", CheckpointAt: &at})
	if next := l.h.newLive(l.rec); next.died == nil || next.died.Reason != "It fell." || !next.died.CheckpointAt.Equal(at) {
		t.Errorf("the next hub knows %+v", next.died)
	}
	l.take1(keep.Record{Seq: 1, Channel: wire.Request, Message: &wire.Message{Header: []byte(`{"msg_id":"a","msg_type":"execute_request","session":"` + hubSession + `"}`)}})
	if l.View().Died == nil {
		t.Error("the hub's own question is taken for somebody's")
	}
	l.take1(keep.Record{Seq: 2, Channel: wire.Request, Message: &wire.Message{Header: []byte(`{"msg_id":"b","msg_type":"execute_request","session":"tab"}`)}})
	if next := l.h.newLive(l.rec); l.View().Died != nil || next.died != nil {
		t.Errorf("told still: %+v, %+v", l.died, next.died)
	}
	if err := os.WriteFile(filepath.Join(l.folder(), diedFile), []byte(`{"at":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if next := l.h.newLive(l.rec); next.died != nil {
		t.Errorf("half a file: %+v", next.died)
	}
}

// TestTheContainerOfTheLifeBefore is not taken for that of a kernel that was about
// to be started.
func TestTheContainerOfTheLifeBefore(t *testing.T) {
	status := func(name string) kernel.Status {
		return kernel.Status{Name: name, Running: true, Labels: map[string]string{"cellar.kernel": "k"}}
	}
	running := map[string]kernel.Status{"k-9": status("k-9"), "other-12": {Name: "other-12", Running: true}}
	for name, c := range map[string]struct {
		rec  Kernel
		more string
		want string
	}{
		"the old one is there still":        {Kernel{State: kernel.Starting, Incarnation: 9}, "", ""},
		"the new one is there, too":         {Kernel{State: kernel.Starting, Incarnation: 9}, "k-10", "k-10"},
		"a first life":                      {Kernel{State: kernel.Starting}, "", "k-9"},
		"it ran":                            {Kernel{State: kernel.Running, Incarnation: 9, Container: "k-9"}, "k-10", "k-9"},
		"it was thawed and not recorded so": {Kernel{State: kernel.Resuming, Incarnation: 8, Checkpoint: "c"}, "", "k-9"},
	} {
		c.rec.ID = "k"
		all := map[string]kernel.Status{}
		for name, s := range running {
			all[name] = s
		}
		if c.more != "" {
			all[c.more] = status(c.more)
		}
		if got := (&Hub{}).incarnation(c.rec, all); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
