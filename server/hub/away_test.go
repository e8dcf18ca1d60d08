package hub

import (
	"testing"
	"time"

	"cellar/kernel"
)

func TestAway(t *testing.T) {
	began := time.Now()
	h := &Hub{since: began, live: map[kernel.ID]*Live{}}
	l := h.newLive(Kernel{ID: "k", Project: "p"})
	h.live["k"] = l
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	run := func(id, state string, from, to int, text string) *Run {
		return &Run{MsgID: id, CellID: "c" + id, Path: "n.ipynb", State: state, StartedAt: at(from), EndedAt: at(to),
			Outputs: []*Output{{stream: "stdout", text: []byte(text)}}}
	}
	l.noteAway(run("before", RunDone, -20, -10, "")) // seen by whoever was there then, as far as we know
	client := &Client{}
	l.clients[client] = struct{}{}
	l.noteAway(run("seen", RunDone, 0, 1, ""))
	delete(l.clients, client)
	l.noteAway(run("1", RunDone, 1, 3, "a\nb\n"))
	l.noteAway(run("2", RunError, 3, 4, "c"))
	l.noteAway(run("3", RunAborted, 4, 4, ""))
	got := h.Away("p", "n.ipynb")
	if len(got) != 2 || got[0].CellID != "c1" || got[0].Lines != 2 || got[0].DurationMS != 2000 || got[1].State != RunError {
		t.Fatalf("%+v", got)
	}
	if other := h.Away("p", "other.ipynb"); len(other) != 0 {
		t.Errorf("another notebook: %+v", other)
	}
	if strangers := h.Away("q", "n.ipynb"); len(strangers) != 0 {
		t.Errorf("another project: %+v", strangers)
	}
	h.Back("p", "n.ipynb", at(3))
	if got = h.Away("p", "n.ipynb"); len(got) != 1 || got[0].CellID != "c2" {
		t.Errorf("heard of the first: %+v", got)
	}
	for range 2 * maxAway {
		l.noteAway(run("x", RunDone, 5, 6, ""))
	}
	if got = h.Away("p", "n.ipynb"); len(got) != maxAway {
		t.Errorf("%d are remembered", len(got))
	}
}
