package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

const tail3 = `{"hist_access_type":"tail","output":false,"raw":true,"n":3}`

func record(ch wire.Channel, content string) keep.Record {
	return keep.Record{Channel: ch, Message: &wire.Message{Content: []byte(content)}}
}

func TestRecall(t *testing.T) {
	var r recall
	if r.answer([]byte(tail3)) != nil {
		t.Error("something is answered that nobody knows")
	}
	run := func(content string) {
		r.note(record(wire.Request, content), wire.Header{MsgType: "execute_request"}, wire.Header{})
	}
	answered := func(id, content string) {
		r.note(record(wire.Shell, content), wire.Header{MsgType: "history_reply"}, wire.Header{MsgID: id})
	}
	run(`{"code":"before anything is known"}`)
	r.asks(wire.Header{MsgType: "history_request", MsgID: "range"}, &wire.Message{Content: []byte(`{"hist_access_type":"range","raw":true,"n":3}`)})
	answered("range", `{"history":[[1,1,"not the newest"]]}`)
	if r.entries != nil {
		t.Errorf("an answer to another question was kept: %v", r.entries)
	}
	r.asks(wire.Header{MsgType: "history_request", MsgID: "tail"}, &wire.Message{Content: []byte(tail3)})
	answered("tail", `{"history":[[1,1,"a"],[1,2,"b"]]}`)
	run(`{"code":"c"}`)
	run(`{"code":"silent","silent":true}`)
	run(`{"code":"not kept","store_history":false}`)
	run(`{"code":"d","store_history":true}`)
	var got struct {
		Status  string
		History [][3]any
	}
	if err := json.Unmarshal(r.answer([]byte(tail3)), &got); err != nil || got.Status != "ok" || fmt.Sprint(got.History) != "[[1 2 b] [0 3 c] [0 4 d]]" {
		t.Errorf("%+v, %v", got, err)
	}
	if r.answer([]byte(`{"hist_access_type":"search","pattern":"*","raw":true,"n":3}`)) != nil {
		t.Error("a search is answered")
	}
	ask := func(id, content string) {
		r.asks(wire.Header{MsgType: "debug_request", MsgID: id}, &wire.Message{Content: []byte(content)})
	}
	const info, started = `{"type":"request","seq":4,"command":"debugInfo"}`, `{"success":true,"body":{"isStarted":%v,"breakpoints":[]}}`
	debugs := func(id, content string) {
		r.note(record(wire.Control, content), wire.Header{MsgType: "debug_reply"}, wire.Header{MsgID: id})
	}
	ask("1", info)
	debugs("1", fmt.Sprintf(started, true))
	if r.debugging([]byte(info)) != nil {
		t.Error("a debugger that is there is denied")
	}
	ask("2", info)
	debugs("2", fmt.Sprintf(started, false))
	if got := string(r.debugging([]byte(info))); !strings.Contains(got, `"request_seq":4`) || !strings.Contains(got, `"isStarted":false`) {
		t.Errorf("debugInfo: %s", got)
	}
	if r.debugging([]byte(`{"command":"initialize","seq":1}`)) != nil {
		t.Error("an initialize is answered")
	}
	ask("3", `{"command":"initialize","seq":5}`)
	if r.debugging([]byte(info)) != nil {
		t.Error("somebody has begun to debug")
	}
	for i := range 2 * maxRecalled {
		run(fmt.Sprintf(`{"code":"%d"}`, i))
	}
	if len(r.entries) != maxRecalled || r.entries[maxRecalled-1][2] != fmt.Sprint(2*maxRecalled-1) {
		t.Errorf("%d entries", len(r.entries))
	}
	run(fmt.Sprintf(`{"code":%q}`, strings.Repeat("x", maxRecalledBytes-100)))
	if n := len(r.entries); n > 30 {
		t.Errorf("%d entries beside a large one", n)
	}
}
