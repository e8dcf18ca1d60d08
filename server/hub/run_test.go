package hub

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// journal feeds a book with records as a keeper would write them.
type journal struct {
	t   *testing.T
	b   *book
	seq uint64
	at  time.Time
}

func newJournal(t *testing.T) *journal {
	return &journal{t: t, b: newBook(func() string { return "x.ipynb" }), at: time.Unix(1_700_000_000, 0)}
}

func (j *journal) record(ch wire.Channel, kind, parent, metadata, content string) *Run {
	j.t.Helper()
	j.seq++
	j.at = j.at.Add(time.Second)
	id := fmt.Sprintf("m%d", j.seq)
	if ch == wire.Request {
		id = parent
	}
	h := wire.Header{MsgID: id, MsgType: kind, Session: "tab"}
	m := &wire.Message{Metadata: []byte(metadata), Content: []byte(content)}
	return j.b.note(keep.Record{Seq: j.seq, Time: j.at, Channel: ch, Message: m}, h, wire.Header{MsgID: parent})
}

// request notes that cell was sent as request id.
func (j *journal) request(id, cell string) *Run {
	return j.record(wire.Request, "execute_request", id, fmt.Sprintf(`{"cellId":%q}`, cell), `{"code":"x","silent":false}`)
}

// says notes a message on iopub that answers request id.
func (j *journal) says(id, kind, content string) *Run {
	return j.record(wire.IOPub, kind, id, "{}", content)
}

func (j *journal) busy(id string) *Run { return j.says(id, "status", `{"execution_state":"busy"}`) }
func (j *journal) idle(id string) *Run { return j.says(id, "status", `{"execution_state":"idle"}`) }

func (j *journal) print(id, stream, text string) *Run {
	return j.says(id, "stream", fmt.Sprintf(`{"name":%q,"text":%s}`, stream, quoted(text)))
}

func (j *journal) display(id, kind, displayID, data string) *Run {
	return j.says(id, kind, fmt.Sprintf(`{"data":%s,"metadata":{},"transient":{"display_id":%q},"execution_count":7}`, data, displayID))
}

// inFile is what run's outputs are in a notebook's file.
func inFile(t *testing.T, run *Run) string {
	t.Helper()
	out := []any{}
	for _, o := range run.Outputs {
		out = append(out, o.inFile())
	}
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestARunFromBeginningToEnd(t *testing.T) {
	j := newJournal(t)
	run := j.request("r", "cell")
	if run == nil || run.State != RunQueued || run.CellID != "cell" || run.Path != "x.ipynb" || run.Session != "tab" || !run.QueuedAt.Equal(j.at) || !j.b.busy() {
		t.Fatalf("queued: %+v", run)
	}
	if j.busy("r"); run.State != RunRunning || !run.StartedAt.Equal(j.at) {
		t.Errorf("running: %+v", run)
	}
	if j.says("r", "execute_input", `{"code":"x","execution_count":4}`); run.Count == nil || *run.Count != 4 {
		t.Errorf("count: %v", run.Count)
	}
	j.print("r", "stdout", "a")
	if run.LastMsgID != fmt.Sprintf("m%d", j.seq) {
		t.Errorf("last message: %s", run.LastMsgID)
	}
	if j.idle("r"); run.State != RunDone || !run.EndedAt.Equal(j.at) || !run.Ended() || j.b.busy() {
		t.Errorf("done: %+v", run)
	}
	if j.idle("r") != nil || j.busy("r") != nil {
		t.Error("a status after the end counts as news")
	}
	v := run.view("k")
	if v.CellID != "cell" || v.MsgID != "r" || v.State != RunDone || v.DurationMS != 3000 || v.EndedAt == nil {
		t.Errorf("view: %+v", v)
	}
}

func TestOutputs(t *testing.T) {
	const err = `{"ename":"E","evalue":"v","traceback":["t1","t2"]}`
	for name, c := range map[string]struct {
		say  func(j *journal)
		want string
		end  string
	}{
		"none": {func(*journal) {}, `[]`, RunDone},
		"streams are merged": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.print("r", "stdout", "b\n")
			j.print("r", "stderr", "c")
			j.print("r", "stdout", "d")
		}, `[{"output_type":"stream","name":"stdout","text":"ab\n"},{"output_type":"stream","name":"stderr","text":"c"},{"output_type":"stream","name":"stdout","text":"d"}]`, RunDone},
		"an empty stream name is none": {func(j *journal) { j.print("r", "", "a") }, `[]`, RunDone},
		"data and result": {func(j *journal) {
			j.display("r", "display_data", "", `{"text/plain":"1"}`)
			j.display("r", "execute_result", "", `{"text/plain":"2"}`)
		}, `[{"output_type":"display_data","data":{"text/plain":"1"},"metadata":{}},{"output_type":"execute_result","data":{"text/plain":"2"},"metadata":{},"execution_count":7}]`, RunDone},
		"data that is missing": {func(j *journal) { j.says("r", "display_data", `{"data":null}`) }, `[{"output_type":"display_data","data":{},"metadata":{}}]`, RunDone},
		"an error": {func(j *journal) { j.says("r", "error", err) },
			`[{"output_type":"error","ename":"E","evalue":"v","traceback":["t1","t2"]}]`, RunError},
		"clear now": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.says("r", "clear_output", `{"wait":false}`)
			j.print("r", "stdout", "b")
		}, `[{"output_type":"stream","name":"stdout","text":"b"}]`, RunDone},
		"clear when the next comes": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.says("r", "clear_output", `{"wait":true}`)
			j.print("r", "stdout", "b")
			j.print("r", "stdout", "c")
		}, `[{"output_type":"stream","name":"stdout","text":"bc"}]`, RunDone},
		"clear, and nothing comes": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.says("r", "clear_output", `{"wait":true}`)
		}, `[{"output_type":"stream","name":"stdout","text":"a"}]`, RunDone},
		"clear by data": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.says("r", "clear_output", `{"wait":true}`)
			j.display("r", "display_data", "", `{}`)
		}, `[{"output_type":"display_data","data":{},"metadata":{}}]`, RunDone},
		"clear by an error": {func(j *journal) {
			j.print("r", "stdout", "a")
			j.says("r", "clear_output", `{"wait":true}`)
			j.says("r", "error", err)
		}, `[{"output_type":"error","ename":"E","evalue":"v","traceback":["t1","t2"]}]`, RunError},
		"an update": {func(j *journal) {
			j.display("r", "display_data", "d", `{"text/plain":"1"}`)
			j.display("r", "display_data", "other", `{"text/plain":"1"}`)
			j.display("r", "update_display_data", "d", `{"text/plain":"2"}`)
			j.display("r", "update_display_data", "", `{"text/plain":"3"}`)
			j.display("r", "update_display_data", "unknown", `{"text/plain":"4"}`)
		}, `[{"output_type":"display_data","data":{"text/plain":"2"},"metadata":{}},{"output_type":"display_data","data":{"text/plain":"1"},"metadata":{}}]`, RunDone},
		"what is no output": {func(j *journal) {
			j.says("r", "comm_msg", `{}`)
			j.says("r", "stream", `not json`)
			j.says("r", "stream", `{"name":1}`)
			j.says("other", "stream", `{"name":"stdout","text":"x"}`)
			j.record(wire.Control, "stream", "r", "{}", `{"name":"stdout","text":"x"}`)
		}, `[]`, RunDone},
	} {
		j := newJournal(t)
		run := j.request("r", "cell")
		j.busy("r")
		c.say(j)
		j.idle("r")
		sameJSON(t, name, inFile(t, run), c.want)
		if run.State != c.end {
			t.Errorf("%s: ended as %s", name, run.State)
		}
	}
}

func TestAnUpdateReachesOtherCells(t *testing.T) {
	j := newJournal(t)
	a, b := j.request("a", "cell a"), j.request("b", "cell b")
	j.display("a", "display_data", "shared", `{"text/plain":"1"}`)
	j.display("b", "display_data", "shared", `{"text/plain":"1"}`)
	before := a.version
	j.display("b", "update_display_data", "shared", `{"text/plain":"2"}`)
	for _, run := range []*Run{a, b} {
		sameJSON(t, run.MsgID, inFile(t, run), `[{"output_type":"display_data","data":{"text/plain":"2"},"metadata":{}}]`)
	}
	if a.version == before {
		t.Error("the other cell's run did not change: it would not be written")
	}
}

func TestReplies(t *testing.T) {
	j := newJournal(t)
	run, next := j.request("r", "cell"), j.request("r2", "cell 2")
	j.busy("r")
	j.record(wire.Shell, "execute_reply", "r", "{}", `{"status":"error","execution_count":9}`)
	if run.Count == nil || *run.Count != 9 || run.Ended() {
		t.Errorf("a reply is not the end, the status is: %+v", run)
	}
	j.record(wire.Shell, "execute_reply", "r2", "{}", `{"status":"aborted"}`)
	if next.State != RunAborted || !next.EndedAt.Equal(j.at) {
		t.Errorf("aborted: %+v", next)
	}
	j.idle("r2")
	if next.State != RunAborted {
		t.Errorf("idle after aborted makes it %s", next.State)
	}
}

func TestRequestsThatAreNoRuns(t *testing.T) {
	for name, c := range map[string][2]string{
		"no cell":        {`{}`, `{"silent":false}`},
		"a silent one":   {`{"cellId":"c"}`, `{"silent":true}`},
		"no metadata":    {``, `{"silent":false}`},
		"no content":     {`{"cellId":"c"}`, ``},
		"another type":   {`{"cellId":7}`, `{"silent":false}`},
		"content a list": {`{"cellId":"c"}`, `[]`},
	} {
		j := newJournal(t)
		if run := j.record(wire.Request, "execute_request", "r", c[0], c[1]); run != nil || j.b.busy() {
			t.Errorf("%s: %+v", name, run)
		}
	}
	j := newJournal(t)
	j.request("r", "cell")
	if j.request("r", "other") != nil || len(j.b.order) != 1 {
		t.Error("one request counts twice")
	}
}

func TestANewerRunSettlesTheOlder(t *testing.T) {
	j := newJournal(t)
	old, other := j.request("old", "cell"), j.request("other", "cell 2")
	j.idle("old")
	j.idle("other")
	now := j.request("now", "cell")
	if !old.settled || other.settled || now.settled {
		t.Errorf("settled: old %v, other cell %v, new %v", old.settled, other.settled, now.settled)
	}
	j.b.forget()
	if len(j.b.order) != 2 || j.b.byMsg["old"] != nil || j.b.byMsg["now"] == nil {
		t.Errorf("left: %d", len(j.b.order))
	}
}

func TestDoneIsWhatNotebooksCarry(t *testing.T) {
	j := newJournal(t)
	if got := j.b.done(7); got != 7 {
		t.Errorf("no runs: %d", got)
	}
	a := j.request("a", "cell a") // 1
	j.busy("a")                   // 2
	b := j.request("b", "cell b") // 3
	j.idle("a")                   // 4
	if got := j.b.done(4); got != 0 {
		t.Errorf("nothing is written: %d", got)
	}
	a.written = a.version
	if got := j.b.done(4); got != 2 {
		t.Errorf("a is written: %d", got)
	}
	j.idle("b") // 5
	b.settled = true
	if got := j.b.done(5); got != 5 {
		t.Errorf("all is done with: %d", got)
	}
	j.print("a", "stdout", "a thread goes on") // 6
	if got := j.b.done(6); got != 0 {
		t.Errorf("a changed after it was written: %d", got)
	}
}

func TestAbortOpen(t *testing.T) {
	j := newJournal(t)
	done, open := j.request("done", "a"), j.request("open", "b")
	j.idle("done")
	at := time.Unix(5, 0)
	if changed := j.b.abortOpen(at); !slices.Equal(changed, []*Run{open}) || open.State != RunAborted || !open.EndedAt.Equal(at) || done.State != RunDone {
		t.Errorf("changed %v, open %+v", changed, open)
	}
}

// TestPagesSeeTheDisplayID, files do not: nbformat has no transient.
func TestPagesSeeTheDisplayID(t *testing.T) {
	j := newJournal(t)
	run := j.request("r", "cell")
	j.display("r", "display_data", "d", `{}`)
	page, err := json.Marshal(run.Outputs[0])
	if err != nil || !strings.Contains(string(page), `"display_id":"d"`) {
		t.Errorf("page: %s, %v", page, err)
	}
	if file := inFile(t, run); strings.Contains(file, "transient") {
		t.Errorf("file: %s", file)
	}
}

// TestStreamsKeepTheirText, one character a message.
func TestStreamsKeepTheirText(t *testing.T) {
	j := newJournal(t)
	run := j.request("r", "cell")
	text := "ünï \u2028 <b>&\u001b[31m \"quoted\"\n"
	for _, r := range text {
		j.print("r", "stdout", string(r))
	}
	var out []struct{ Text string }
	if err := json.Unmarshal([]byte(inFile(t, run)), &out); err != nil || len(out) != 1 {
		t.Fatal(err, out)
	}
	if out[0].Text != text {
		t.Errorf("got %q", out[0].Text)
	}
}

// quoted is s as JSON has it.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
