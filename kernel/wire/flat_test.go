package wire

import (
	"encoding/json"
	"testing"
)

var flatSeeds = []string{
	`{"msg_id":"a_1","msg_type":"stream","username":"ada","session":"s","date":"2026-01-01T00:00:00Z","version":"5.3"}`,
	` { "msg_id" : "a" , "date" : null, "x":"y" } `, `{"MSG_ID":"a"}`, `{"msg_id":"\u0061"}`, `{"msg_id":1}`, `{"date":12.5}`, `{"msg_id":{"a":"b"}}`, `{"msg_id":"a","msg_id":"b"}`, `{"msg_id":"a","msg_id":null}`, `{"date":"a","date":null}`,
	`{}`, ``, `null`, `[]`, `{"a":"b",}`, `{"a" "b"}`, `{"a":"b"}x`, `{"msg_id":"é"}`, "{\"msg_id\":\"\xff\"}", "{\"msg_id\":\"a\nb\"}", `{"msg_id":nullx}`, `{"\u006dsg_id":"a"}`,
	`{"name":"stdout","text":"line\n"}`, `{"name":"stderr","text":"\ud83d\ude00 \ud83d \ude00 \"\\\/\b\f\r\t é"}`, `{"text":"\x","name":"stdout"}`, `{"name":"stdout","text":"\u12"}`,
	`{"name":"stdout","Text":"a","text":"b"}`, `{"name":"stdout","text":"\ud83d\u0041"}`, `{"name":null,"text":"a"}`, `{"name":"stdout","text":5}`, "{\"name\":\"stdout\",\"text\":\"\xff\"}", `{"name":"stdout","text":"\ud83d\ud83d\ude00"}`,
}

// plainHeader is Header for encoding/json alone.
type plainHeader Header

// FuzzFlat: the fast ways say what encoding/json says.
func FuzzFlat(f *testing.F) {
	for _, s := range flatSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, ok := fastHeader([]byte(s)); ok {
			var want plainHeader
			if err := json.Unmarshal([]byte(s), &want); err != nil || Header(want) != h {
				t.Errorf("header %q: %+v, not %+v, %v", s, h, want, err)
			}
		}
		var c struct{ Name, Text string }
		err := json.Unmarshal([]byte(s), &c)
		name, text, ok := AppendStream([]byte("before "), []byte(s))
		if ok != (err == nil) || ok && (name != c.Name || string(text) != "before "+c.Text) {
			t.Errorf("stream %q: %q %q %v, not %+v %v", s, name, text, ok, c, err)
		}
	})
}

// TestTheUsualIsFast: what kernels send takes the fast way.
func TestTheUsualIsFast(t *testing.T) {
	for _, s := range flatSeeds[:2] {
		if _, ok := fastHeader([]byte(s)); !ok {
			t.Errorf("not fast: %s", s)
		}
	}
	room, stream, header := make([]byte, 0, 1000), []byte(`{"name":"stdout","text":"12\n\u00e9"}`), []byte(flatSeeds[0])
	if n := testing.AllocsPerRun(100, func() { AppendStream(room, stream) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { ParseHeader(header) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
