package hub

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

func TestThePeakOfARun(t *testing.T) {
	const mib = 1 << 20
	type seen = kernel.Usage
	for name, c := range map[string]struct {
		counter bool
		looks   []seen
		want    int64
	}{
		"nothing seen":                         {true, nil, 0},
		"samples alone":                        {false, []seen{{Memory: 50 * mib, Peak: 900 * mib}, {Memory: 80 * mib}, {Memory: 60 * mib}}, 80 * mib},
		"the counter sees what samples miss":   {true, []seen{{Memory: 50 * mib, Peak: 50 * mib}, {Memory: 60 * mib, Peak: 300 * mib}}, 300 * mib},
		"file pages are no memory of the cell": {true, []seen{{Memory: 50 * mib, Files: 500 * mib, Peak: 560 * mib}}, 60 * mib},
		"file pages that were there meanwhile": {true, []seen{{Memory: 50 * mib, Files: 500 * mib, Peak: 550 * mib}, {Memory: 70 * mib, Files: 10 * mib, Peak: 560 * mib}}, 70 * mib},
		"a machine that does not count":        {true, []seen{{Memory: 50 * mib}}, 50 * mib},
	} {
		m := meter{run: &Run{}, counter: c.counter}
		for _, u := range c.looks {
			m.look(u)
		}
		if m.run.Peak != c.want {
			t.Errorf("%s: %d MiB, want %d", name, m.run.Peak/mib, c.want/mib)
		}
	}
}

// What is asked for before a run began belongs to the one before it.
func TestASampleOfBeforeIsNotTheRuns(t *testing.T) {
	l := &Live{book: newBook(func() string { return "" })}
	now := time.Now()
	l.meter = meter{run: &Run{State: RunRunning}, began: now}
	l.meterNow(kernel.Usage{Memory: 900}, now.Add(-time.Millisecond))
	if l.meter.run.Peak != 0 {
		t.Errorf("peak %d", l.meter.run.Peak)
	}
	l.meterNow(kernel.Usage{Memory: 100}, now.Add(time.Millisecond))
	if l.meter.run.Peak != 100 {
		t.Errorf("peak %d", l.meter.run.Peak)
	}
	going := &Run{State: RunRunning}
	l.meter, l.book.order = meter{}, []*Run{{State: RunDone}, {State: RunQueued}, {State: RunRunning, old: true}, going}
	if got := l.meterNow(kernel.Usage{}, now); got != going {
		t.Errorf("a run that began while no hub was there: %+v", got)
	}
}

func timedHub(t *testing.T) (*Hub, *Live) {
	h := &Hub{Config: Config{Data: t.TempDir()}, Log: slog.New(slog.DiscardHandler), live: map[kernel.ID]*Live{}, Store: noSessions{}}
	l := h.newLive(Kernel{ID: "k", Project: "p"})
	h.live["k"] = l
	if err := os.MkdirAll(l.folder(), 0o700); err != nil {
		t.Fatal(err)
	}
	return h, l
}

type noSessions struct{ Store }

func TestTimingsAreOfTheLastRunOfEachCell(t *testing.T) {
	h, l := timedHub(t)
	at := time.Unix(1_700_000_000, 0).UTC()
	run := func(msg, cell string, seconds int, peak int64) *Run {
		return &Run{MsgID: msg, CellID: cell, Path: "n.ipynb", State: RunDone, StartedAt: at, EndedAt: at.Add(time.Duration(seconds) * time.Second), Peak: peak}
	}
	l.noteTiming(run("m1", "a", 1, 10))
	l.noteTiming(run("m2", "b", 2, 20))
	l.noteTiming(run("m3", "a", 3, 30))
	l.noteTiming(&Run{MsgID: "m4", CellID: "c", Path: "n.ipynb", State: RunAborted, EndedAt: at}) // never began
	l.noteTiming(run("m5", strings.Repeat("x", maxCellID+1), 1, 1))
	look := func(what string) {
		t.Helper()
		if got := l.timings; len(got) != 2 || got[0].MsgID != "m2" || got[1].MsgID != "m3" || got[1].DurationMS != 3000 || got[1].PeakMemory != 30 {
			t.Errorf("%s: %+v", what, got)
		}
	}
	look("noted")
	l.keepTimings()
	l = h.newLive(Kernel{ID: "k", Project: "p"}) // the next hub
	look("read again")
	again := run("m3", "a", 3, 0)
	l.noteTiming(again) // from the journal, which has no memory in it
	look("noted again")
	if again.Peak != 30 {
		t.Errorf("the run's own peak: %d", again.Peak)
	}
	l.noteTiming(run("m6", "a", 4, 0))
	if got := l.timings[1]; got.MsgID != "m6" || got.PeakMemory != 0 {
		t.Errorf("another run has no peak of an old one: %+v", got)
	}
	for i := range maxTimings + 10 {
		l.noteTiming(run("m", fmt.Sprint("cell", i), 1, 1))
	}
	if len(l.timings) != maxTimings || l.timings[0].CellID != "cell10" {
		t.Errorf("%d are remembered, from %s", len(l.timings), l.timings[0].CellID)
	}
}

func TestHalfAFileOfTimingsStopsNothing(t *testing.T) {
	h, l := timedHub(t)
	if err := os.WriteFile(filepath.Join(l.folder(), timingsFile), []byte(`[{"cell_id":"a"},{"cel`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.newLive(l.rec).timings; len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A cell run with JupyterLab's recordTiming has its moments in the metadata,
// whoever wrote the file; others are left alone.
func TestMomentsInTheMetadata(t *testing.T) {
	j := newJournal(t)
	j.record(wire.Request, "execute_request", "r", `{"cellId":"timed","recordTiming":true}`, `{}`)
	j.request("s", "plain")
	say := func(id, kind string, ch wire.Channel, date wire.Date, metadata, content string) {
		j.seq++
		m := &wire.Message{Metadata: []byte(metadata), Content: []byte(content)}
		j.b.note(keep.Record{Seq: j.seq, Time: j.at, Channel: ch, Message: m}, wire.Header{MsgType: kind, Date: date}, wire.Header{MsgID: id})
	}
	for _, id := range []string{"r", "s"} {
		say(id, "status", wire.IOPub, "2026-01-02T03:04:05.000001Z", "{}", `{"execution_state":"busy"}`)
		say(id, "execute_input", wire.IOPub, wire.Date(strings.Repeat("9", 5000)), "{}", `{"execution_count":1}`) // hostile: ours is taken
		say(id, "execute_reply", wire.Shell, "2026-01-02T03:04:07Z", `{"started":"2026-01-02T03:04:05.1Z"}`, `{"execution_count":1,"status":"ok"}`)
		say(id, "status", wire.IOPub, "", "{}", `{"execution_state":"idle"}`)
	}
	runs := map[string]*Run{}
	for _, r := range j.b.order {
		runs[r.CellID] = r
	}
	nb, err := layOver([]byte(`{"cells":[
		{"id":"timed","cell_type":"code","metadata":{"tags":["a"],"execution":{"mine":1}}},
		{"id":"plain","cell_type":"code","metadata":{}},{"id":"other","cell_type":"code","metadata":{}}]}`), runs, always)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Cells []struct{ Metadata json.RawMessage }
	}
	if err := json.Unmarshal(nb, &doc); err != nil {
		t.Fatal(err)
	}
	ours := j.at.UTC().Format(time.RFC3339Nano)
	sameJSON(t, "timed", string(doc.Cells[0].Metadata), fmt.Sprintf(`{"tags":["a"],"execution":{"mine":1,"iopub.status.busy":"2026-01-02T03:04:05.000001Z",
		"iopub.execute_input":%q,"shell.execute_reply":"2026-01-02T03:04:07Z","shell.execute_reply.started":"2026-01-02T03:04:05.1Z","iopub.status.idle":%q}}`, ours, ours))
	sameJSON(t, "plain", string(doc.Cells[1].Metadata), `{}`)
	sameJSON(t, "other", string(doc.Cells[2].Metadata), `{}`)
}
