package hub

import (
	"encoding/json"
	"testing"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// FuzzOutputs: whatever a kernel says about a cell, the notebook it is laid over
// stays a notebook: every other cell and member as it was.
func FuzzOutputs(f *testing.F) {
	for _, c := range [][2]string{
		{"stream", `{"name":"stdout","text":"x\ud800"}`}, {"display_data", `{"data":{"text/plain":"x"},"metadata":{},"transient":{"display_id":"d"}}`},
		{"display_data", `{"data":[1],"metadata":"x"}`}, {"update_display_data", `{"data":{"text/html":"<b>"},"transient":{"display_id":"d"}}`},
		{"execute_result", `{"data":null,"execution_count":-1}`}, {"error", `{"ename":"E","evalue":"v","traceback":["\u001b[0m"]}`},
		{"clear_output", `{"wait":true}`}, {"status", `{"execution_state":"idle"}`}, {"execute_reply", `{"status":"aborted"}`}, {"stream", `{`}, {"execute_input", `{"execution_count":1e99}`},
	} {
		f.Add(c[0], []byte(c[1]), "display_data", []byte(`{"data":{},"transient":{"display_id":"d"}}`))
	}
	const nb = `{"cells":[{"cell_type":"code","id":"a","source":"1","metadata":{"x":1.50},"outputs":[],"execution_count":null},{"cell_type":"markdown","id":"b","source":"t","metadata":{}}],"metadata":{"k":[1]},"nbformat":4,"nbformat_minor":5}`
	f.Fuzz(func(t *testing.T, kind1 string, content1 []byte, kind2 string, content2 []byte) {
		b := newBook(func() string { return "x.ipynb" })
		note := func(seq uint64, ch wire.Channel, kind, metadata string, content []byte) {
			id := "r"
			if ch != wire.Request {
				id = "m"
			}
			b.note(keep.Record{Seq: seq, Time: time.Unix(int64(seq), 0), Channel: ch, Message: &wire.Message{Metadata: []byte(metadata), Content: content}},
				wire.Header{MsgID: id, MsgType: kind}, wire.Header{MsgID: "r"})
		}
		note(1, wire.Request, "execute_request", `{"cellId":"a"}`, []byte(`{"code":"1"}`))
		note(2, wire.IOPub, "status", "{}", []byte(`{"execution_state":"busy"}`))
		note(3, wire.IOPub, kind1, "{}", content1)
		note(4, wire.Shell, kind2, "{}", content2)
		note(5, wire.IOPub, kind2, "{}", content2)
		out, err := layOver([]byte(nb), map[string]*Run{"a": b.byMsg["r"]}, always)
		if err != nil {
			t.Fatalf("not laid over: %v", err)
		}
		var doc struct {
			Cells    []map[string]json.RawMessage
			Metadata json.RawMessage
		}
		if err := json.Unmarshal(out, &doc); err != nil || len(doc.Cells) != 2 || string(doc.Metadata) != `{"k":[1]}` || string(doc.Cells[0]["metadata"]) != `{"x":1.50}` || string(doc.Cells[1]["source"]) != `"t"` {
			t.Fatalf("%v: %s", err, out)
		}
		var outputs []struct {
			Type string `json:"output_type"`
		}
		if err := json.Unmarshal(doc.Cells[0]["outputs"], &outputs); err != nil {
			t.Fatalf("%v: %s", err, doc.Cells[0]["outputs"])
		}
		for _, o := range outputs {
			switch o.Type {
			case "stream", "display_data", "execute_result", "error":
			default:
				t.Fatalf("an output of type %q", o.Type)
			}
		}
		json.Marshal(b.byMsg["r"].view("k"))
	})
}
