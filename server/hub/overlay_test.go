package hub

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cellar/kernel"
)

// notebook has a big number, unknown keys and odd spacing: what nobody of us
// understands must come back as it was.
const notebook = `{"cells":[
 {"cell_type":"code","id":"a","execution_count":1,"metadata":{"big":12345678901234567890,"f":1.50},"outputs":[{"output_type":"stream","name":"stdout","text":["old"]}],"source":["x < 1 & 2"],"mine":{"z":1,"a":2}},
 {"cell_type":"markdown","id":"b","metadata":{},"source":"b"},
 {"cell_type":"code","id":"c","execution_count":null,"metadata":{},"outputs":[],"source":""}
],"metadata":{"kernelspec":{"name":"python3"},"n":1e400},"nbformat":4,"nbformat_minor":5,"extra":[1.0,10000000000000000001]}`

func count(n int) *int { return &n }

func runOf(cell string, n int, text string) *Run {
	r := &Run{MsgID: "m-" + cell + text, CellID: cell, Path: "x.ipynb", State: RunDone, Count: count(n)}
	if text != "" {
		r.Outputs = []*Output{{stream: "stdout", text: []byte(text)}}
	}
	return r
}

// raw decodes one level deep, keeping all below as bytes.
func raw(t *testing.T, b []byte) (doc map[string]json.RawMessage, cells []map[string]json.RawMessage) {
	t.Helper()
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc["cells"], &cells); err != nil {
		t.Fatal(err)
	}
	return doc, cells
}

func TestLayOver(t *testing.T) {
	out, err := layOver([]byte(notebook), map[string]*Run{"c": runOf("c", 5, "new"), "b": runOf("b", 6, "no"), "gone": runOf("gone", 7, "no")}, always)
	if err != nil {
		t.Fatal(err)
	}
	was, before := raw(t, []byte(notebook))
	is, after := raw(t, out)
	if len(after) != 3 {
		t.Fatalf("%d cells", len(after))
	}
	sameJSON(t, "outputs", string(after[2]["outputs"]), `[{"output_type":"stream","name":"stdout","text":"new"}]`)
	sameJSON(t, "count", string(after[2]["execution_count"]), `5`)
	compact := func(m json.RawMessage) string { // json.Marshal writes <, > and & as escapes of the same meaning
		s := strings.Join(strings.Fields(string(m)), "")
		return strings.NewReplacer("\\u003c", "<", "\\u003e", ">", "\\u0026", "&").Replace(s)
	}
	for i := range before {
		for k, v := range before[i] {
			if i == 2 && (k == "outputs" || k == "execution_count") {
				continue
			}
			if compact(after[i][k]) != compact(v) {
				t.Errorf("cell %d, %s: %s became %s", i, k, v, after[i][k])
			}
		}
		if len(before[i]) != len(after[i]) {
			t.Errorf("cell %d: %d keys became %d", i, len(before[i]), len(after[i]))
		}
	}
	for k, v := range was {
		if k != "cells" && compact(is[k]) != compact(v) {
			t.Errorf("%s: %s became %s", k, v, is[k])
		}
	}
}

func TestLayOverOfNothingChangesNoByte(t *testing.T) {
	for name, c := range map[string]struct {
		runs map[string]*Run
		use  func(*Run, map[string]json.RawMessage) bool
	}{
		"no runs":         {nil, always},
		"another cell":    {map[string]*Run{"z": runOf("z", 1, "x")}, always},
		"no code cell":    {map[string]*Run{"b": runOf("b", 1, "x")}, always},
		"use says no":     {map[string]*Run{"a": runOf("a", 1, "x")}, func(*Run, map[string]json.RawMessage) bool { return false }},
		"cell without ID": {map[string]*Run{"": nil}, always},
	} {
		if out, err := layOver([]byte(notebook), c.runs, c.use); err != nil || string(out) != notebook {
			t.Errorf("%s: %v, changed: %v", name, err, string(out) != notebook)
		}
	}
}

func TestLayOverRefuses(t *testing.T) {
	runs := map[string]*Run{"a": runOf("a", 1, "x")}
	for _, bad := range []string{"", "null", "[]", "{}", `{"cells":{}}`, `{"cells":[1]}`, `{"cells":[`} {
		if out, err := layOver([]byte(bad), runs, always); err == nil {
			t.Errorf("%q became %q", bad, out)
		}
	}
	if _, err := layOver([]byte(`{"cells":[null,{"id":7,"cell_type":"code"},{"id":"a"}]}`), runs, always); err != nil {
		t.Errorf("odd cells: %v", err)
	}
}

// liveWith is a hub with one kernel that has these runs.
func liveWith(runs ...*Run) (*Hub, *Live) {
	l := &Live{rec: Kernel{ID: "k", Project: "p"}, book: newBook(func() string { return "x.ipynb" })}
	for _, r := range runs {
		l.book.order = append(l.book.order, r)
		l.book.byMsg[r.MsgID] = r
	}
	h := &Hub{live: map[kernel.ID]*Live{"k": l}}
	l.h = h
	return h, l
}

func cellText(t *testing.T, nb []byte, i int) string {
	t.Helper()
	_, cells := raw(t, nb)
	return string(cells[i]["outputs"])
}

// TestOverlay goes through what a save meets: seen says how the client knows
// of the run's end.
func TestOverlaySaving(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(r *Run)
		wins    bool // the run's outputs, over what the client has
		settled bool
	}{
		"going on":                          {func(r *Run) { r.State = RunRunning }, true, false},
		"ended, unseen":                     {func(*Run) {}, true, false},
		"ended, delivered":                  {func(r *Run) { r.delivered = true }, false, true},
		"ended, loaded":                     {func(r *Run) { r.loaded = true }, false, true},
		"going on, loaded before":           {func(r *Run) { r.State, r.loaded = RunRunning, true }, true, false},
		"ended just now, the save is older": {func(r *Run) { r.delivered, r.EndedAt = true, time.Now() }, true, false},
		"ended just now, the save knows":    {func(r *Run) { r.delivered, r.EndedAt, r.Count = true, time.Now(), count(1) }, false, true},
	} {
		r := runOf("a", 9, "new")
		c.change(r)
		h, l := liveWith(r)
		out := h.Overlay("p").Saving("x.ipynb", []byte(notebook))
		if wins := strings.Contains(cellText(t, out, 0), "new"); wins != c.wins || r.settled != c.settled {
			t.Errorf("%s: the run wins: %v, settled: %v", name, wins, r.settled)
		}
		if left := len(l.book.order); (left == 0) != c.settled {
			t.Errorf("%s: %d runs left", name, left)
		}
	}
}

func TestOverlayLoading(t *testing.T) {
	ended, open := runOf("a", 9, "new"), runOf("c", 0, "half")
	open.State, open.Count = RunRunning, nil
	h, _ := liveWith(ended, open)
	o := h.Overlay("p")
	out := o.Loaded("x.ipynb", []byte(notebook))
	if !strings.Contains(cellText(t, out, 0), "new") || !strings.Contains(cellText(t, out, 2), "half") {
		t.Errorf("loaded %s", out)
	}
	if !ended.loaded || open.loaded {
		t.Errorf("loaded: ended %v, open %v", ended.loaded, open.loaded)
	}
	// The client has it now: what it saves is what it wants, an erased output too.
	if out := o.Saving("x.ipynb", []byte(notebook)); !strings.Contains(cellText(t, out, 0), "old") {
		t.Errorf("saved %s", out)
	}
	for what, got := range map[string][]byte{
		"another notebook": o.Loaded("y.ipynb", []byte(notebook)),
		"another project":  h.Overlay("q").Loaded("x.ipynb", []byte(notebook)),
	} {
		if string(got) != notebook {
			t.Errorf("%s was changed", what)
		}
	}
	if got := o.Loaded("x.ipynb", []byte("no notebook")); string(got) != "no notebook" {
		t.Errorf("what is no notebook became %q", got)
	}
}

func TestOperations(t *testing.T) {
	os := newOperations()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the caller is gone already
	step, goOn := make(chan struct{}), make(chan struct{})
	o := os.Begin(ctx, "p", "test", func(ctx context.Context, o *Operation) (any, error) {
		o.Step(0.5, "half")
		close(step)
		<-goOn
		return map[string]int{"n": 1}, ctx.Err()
	})
	<-step
	s, changed := o.State()
	if s.Done || s.Progress != 0.5 || s.Message != "half" || s.ID != o.ID {
		t.Errorf("half way: %+v", s)
	}
	if _, err := o.Wait(ctx); err == nil {
		t.Error("Wait outlives its context")
	}
	close(goOn)
	<-changed
	s, err := o.Wait(t.Context())
	if err != nil || !s.Done || s.Error != nil || s.Progress != 1 || string(s.Response) != `{"n":1}` {
		t.Errorf("end: %+v, %v", s, err)
	}
	if got, err := os.Get(o.ID); err != nil || got != o {
		t.Errorf("Get: %v, %v", got, err)
	}
	os.wg.Wait()
}
