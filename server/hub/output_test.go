package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

func small(t *testing.T, bytes int) {
	before := maxOutput
	maxOutput = bytes
	t.Cleanup(func() { maxOutput = before })
}

func textOf(r *Run) (all string, kept int) {
	var b strings.Builder
	for _, o := range r.Outputs {
		b.Write(o.text)
		kept += len(o.text)
		if data, ok := o.body["data"]; ok {
			kept += len(data.(json.RawMessage))
		}
	}
	return b.String(), kept
}

// TestOutputsAreBounded: the first lines and the last stay, whole, and between
// them it says how much is missing.
func TestOutputsAreBounded(t *testing.T) {
	small(t, 64<<10)
	b := newBook(func() string { return "" })
	r := &Run{}
	printed := 0
	line := func(i int) string { return fmt.Sprintf("line %06d", i) }
	for i := range 100_000 {
		stream := []string{"stdout", "stderr"}[i/1000%2] // outputs by the dozen
		b.stream(r, fmt.Appendf(nil, `{"name":%q,"text":"%s\n"}`, stream, line(i)))
		printed += len(line(i)) + 1
	}
	text, kept := textOf(r)
	if kept > maxOutput+100 || kept < maxOutput/2 {
		t.Errorf("%d bytes kept", kept)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	note := -1
	for i, l := range lines {
		if strings.HasPrefix(l, "[") {
			note = i
		} else if len(l) > 0 && !regexp.MustCompile(`^line \d{6}$`).MatchString(l) {
			t.Errorf("a torn line: %q", l)
		}
	}
	if note < 0 || strings.Count(text, "left out") != 1 || !strings.Contains(lines[note], "1.") {
		t.Fatalf("no word of what is missing: line %d", note)
	}
	if lines[0] != line(0) || lines[len(lines)-1] != line(99_999) || lines[10] != line(10) {
		t.Errorf("from %q to %q", lines[0], lines[len(lines)-1])
	}
	if first := len(strings.Join(lines[:note], "\n")); first < maxOutput/4 {
		t.Errorf("%d bytes of the beginning", first)
	}
	if r.sizes.cut+kept < printed {
		t.Errorf("%d left out and %d kept of %d", r.sizes.cut, kept, printed)
	}
	b.apply(r, outputRecord(`{"wait":false}`), wire.Header{MsgType: "clear_output"})
	b.stream(r, []byte(`{"name":"stdout","text":"anew"}`))
	if text, _ := textOf(r); text != "anew" || r.sizes.cut != 0 {
		t.Errorf("after clear_output: %q", text)
	}
}

func outputRecord(content string) keep.Record {
	return keep.Record{Channel: wire.IOPub, Message: &wire.Message{Content: []byte(content)}}
}

// TestPicturesAreBounded: also those that grow where they are.
func TestPicturesAreBounded(t *testing.T) {
	small(t, 64<<10)
	b := newBook(func() string { return "" })
	r := &Run{}
	b.order = append(b.order, r)
	show := func(kind string, id, n int) {
		b.apply(r, outputRecord(fmt.Sprintf(`{"data":{"image/png":%q},"transient":{"display_id":"d%d"}}`, bytes.Repeat([]byte("A"), n), id)), wire.Header{MsgType: kind})
	}
	for i := range 100 {
		show("display_data", i, 5000)
	}
	if r.sizes.all > maxOutput || len(r.Outputs) > 14 || len(r.Outputs) < 6 || !r.Outputs[r.sizes.head].note {
		t.Errorf("%d outputs of %d bytes", len(r.Outputs), r.sizes.all)
	}
	if first, last := r.Outputs[0], r.Outputs[len(r.Outputs)-1]; first.display != "d0" || last.display != "d99" {
		t.Errorf("from %s to %s", first.display, last.display)
	}
	show("update_display_data", 99, 60_000)
	if r.sizes.all > maxOutput {
		t.Errorf("%d bytes after one has grown", r.sizes.all)
	}
	show("display_data", 100, 500_000) // alone it is too much
	if r.sizes.all > maxOutput || len(r.Outputs) > 14 {
		t.Errorf("%d outputs of %d bytes", len(r.Outputs), r.sizes.all)
	}
	show("display_data", 101, 100)
	if last := r.Outputs[len(r.Outputs)-1]; last.display != "d101" {
		t.Error("nothing is kept any more")
	}
}
